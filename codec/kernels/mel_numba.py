"""The log-mel front end in numba: csrc/mel/mel.h and rfft.h, operation by operation."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from codec.kernels.fma import fma
from codec.kernels.mel_tables import TOPS, MelTables

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

_PEAK = np.float32(1e12)
_RUNNING, _CLIP = TOPS.index("running"), TOPS.index("clip")
_HALF, _QUARTER, _ONE = np.float32(0.5), np.float32(0.25), np.float32(1)
_SIN60 = np.float32(0.866025403784438647)
_SIN72, _RATIO = np.float32(0.951056516295153572), np.float32(0.618033988749894848)
_ROOT = np.float32(0.559016994374947424)
_COS45 = np.float32(0.707106781186547524)
_COS22, _SIN22 = np.float32(0.923879532511286756), np.float32(0.382683432365089772)
_LOG10_2_HIGH = np.float32(float.fromhex("0x1.344136p-2"))
_LOG10_2_LOW = np.float32(float.fromhex("-0x1.ec10c0p-27"))
_LOG10_E = np.float32(0.434294481903251828)
_LOG_FIRST = np.float32(-0.0339764968)
_LOG_REST = tuple(
    np.float32(c)
    for c in (
        0.0564792672,
        -0.0573650700,
        0.0615111653,
        -0.0721413093,
        0.0868719929,
        -0.1085802306,
        0.1447647186,
        -0.2171471939,
    )
)


def run(
    clips: Floats, tables: MelTables, start: int, tops: Floats, out: Floats, frame_major: bool
) -> bool:
    """Write the frames of clips [B, samples] to out, as `codec.kernels._native.MelPlan` does."""
    if clips.size and not (clips.min() >= -_PEAK and clips.max() <= _PEAK):
        return False
    fft = tables.fft
    mel = out.transpose(0, 2, 1) if frame_major else out
    _run(
        clips,
        start,
        tops,
        mel,
        (tables.hop_length, tables.pad, tables.reflect, tables.magnitude, tables.log, tables.top),
        tuple(map(np.float32, (tables.floor, tables.range, tables.scale, tables.offset))),
        (tables.band_start, tables.band_size, tables.band_weights),
        (fft.order, fft.window, fft.turns, fft.places),
        (fft.radices, fft.twiddles, fft.unpack, fft.bins),
    )
    return True


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _put_turned(y: Floats, i: int, w: Floats, re: np.float32, im: np.float32) -> None:
    y[i, 0] = fma(re, w[0], -(im * w[1]))
    y[i, 1] = fma(re, w[1], im * w[0])


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _pairs(a: Floats, w: Floats) -> None:
    """Compute the sum and difference of a[m], a[m + half], each times its window."""
    half = len(a) // 2
    for m in range(half):
        low, high, weight = a[m] * w[m], a[m + half], w[m + half]
        a[m], a[m + half] = fma(high, weight, low), fma(-high, weight, low)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _row(a: Floats, w: Floats, ends: Floats, result: Floats) -> None:
    """Transform real a: rfft.h's a and b go to `ends`, result k to result[k - 1]."""
    split = len(a)
    if split == 2:
        ends[0], ends[1] = a[0] * w[0], a[1] * w[1]
        return
    _pairs(a, w)
    if split == 4:
        ends[0], ends[1] = a[0], a[1]
        result[0, 0], result[0, 1] = a[2], -a[3]
    elif split == 8:
        s0, s1, s2, s3, d0, d1, d2, d3 = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]
        ends[0], ends[1] = s0 + s2, s1 + s3
        result[1, 0], result[1, 1] = s0 - s2, s3 - s1
        dr, di = d1 - d3, d1 + d3
        result[0, 0], result[0, 1] = fma(_COS45, dr, d0), -fma(_COS45, di, d2)
        result[2, 0], result[2, 1] = fma(-_COS45, dr, d0), fma(-_COS45, di, d2)
    else:
        e0, e1, e2, e3 = a[0] + a[4], a[1] + a[5], a[2] + a[6], a[3] + a[7]
        ends[0], ends[1] = e0 + e2, e1 + e3
        result[3, 0], result[3, 1] = e0 - e2, e3 - e1

        f0, f1, f2, f3 = a[0] - a[4], a[1] - a[5], a[2] - a[6], a[3] - a[7]
        fr, fi = f1 - f3, f1 + f3
        result[1, 0], result[1, 1] = fma(_COS45, fr, f0), -fma(_COS45, fi, f2)
        result[5, 0], result[5, 1] = fma(-_COS45, fr, f0), fma(-_COS45, fi, f2)

        d0, d1, d2, d3, d4, d5, d6, d7 = a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]
        gr, gi = d2 - d6, d2 + d6
        ar, ai = fma(_COS45, gr, d0), fma(_COS45, gi, d4)
        br, bi = fma(-_COS45, gr, d0), fma(-_COS45, gi, d4)
        ur, ui = fma(_COS22, d1, -(_SIN22 * d5)), fma(_SIN22, d1, _COS22 * d5)
        vr, vi = fma(_SIN22, d3, -(_COS22 * d7)), fma(_COS22, d3, _SIN22 * d7)
        pr, pi, mr, mi = ur + vr, ui + vi, ur - vr, ui - vi
        result[0, 0], result[0, 1] = ar + pr, -(ai + pi)
        result[6, 0], result[6, 1] = ar - pr, ai - pi
        result[4, 0], result[4, 1] = br - mi, -(bi + mr)
        result[2, 0], result[2, 1] = br + mi, bi - mr


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _butterfly(x: Floats, i: int, hop: int, radix: int, v: Floats) -> None:
    """Transform x[i + hop j], j < radix, to v [5, 2]."""
    ar, ai, br, bi = x[i, 0], x[i, 1], x[i + hop, 0], x[i + hop, 1]
    if radix == 2:
        v[0, 0], v[0, 1], v[1, 0], v[1, 1] = ar + br, ai + bi, ar - br, ai - bi
        return
    cr, ci = x[i + 2 * hop, 0], x[i + 2 * hop, 1]
    if radix == 3:
        sr, si, dr, di = br + cr, bi + ci, br - cr, bi - ci
        mr, mi = fma(-_HALF, sr, ar), fma(-_HALF, si, ai)
        v[0, 0], v[0, 1] = ar + sr, ai + si
        v[1, 0], v[1, 1] = fma(_SIN60, di, mr), fma(-_SIN60, dr, mi)
        v[2, 0], v[2, 1] = fma(-_SIN60, di, mr), fma(_SIN60, dr, mi)
        return
    dr, di = x[i + 3 * hop, 0], x[i + 3 * hop, 1]
    if radix == 4:
        s0r, s0i, d0r, d0i = ar + cr, ai + ci, ar - cr, ai - ci
        s1r, s1i, d1r, d1i = br + dr, bi + di, br - dr, bi - di
        v[0, 0], v[0, 1], v[1, 0], v[1, 1] = s0r + s1r, s0i + s1i, d0r + d1i, d0i - d1r
        v[2, 0], v[2, 1], v[3, 0], v[3, 1] = s0r - s1r, s0i - s1i, d0r - d1i, d0i + d1r
        return
    er, ei = x[i + 4 * hop, 0], x[i + 4 * hop, 1]
    s1r, s1i, d1r, d1i = br + er, bi + ei, br - er, bi - ei
    s2r, s2i, d2r, d2i = cr + dr, ci + di, cr - dr, ci - di
    tr, ti, ur, ui = s1r + s2r, s1i + s2i, s1r - s2r, s1i - s2i
    mr, mi = fma(-_QUARTER, tr, ar), fma(-_QUARTER, ti, ai)
    m1r, m1i = fma(_ROOT, ur, mr), fma(_ROOT, ui, mi)
    m2r, m2i = fma(-_ROOT, ur, mr), fma(-_ROOT, ui, mi)
    v1r, v1i = fma(_RATIO, d2r, d1r), fma(_RATIO, d2i, d1i)
    v2r, v2i = fma(_RATIO, d1r, -d2r), fma(_RATIO, d1i, -d2i)
    v[0, 0], v[0, 1] = ar + tr, ai + ti
    v[1, 0], v[1, 1] = fma(_SIN72, v1i, m1r), fma(-_SIN72, v1r, m1i)
    v[4, 0], v[4, 1] = fma(-_SIN72, v1i, m1r), fma(_SIN72, v1r, m1i)
    v[2, 0], v[2, 1] = fma(_SIN72, v2i, m2r), fma(-_SIN72, v2r, m2i)
    v[3, 0], v[3, 1] = fma(-_SIN72, v2i, m2r), fma(_SIN72, v2r, m2i)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _column(x: Floats, work: Floats, radices: Ints, twiddles: Floats, v: Floats) -> Floats:
    """Transform complex x [h, 2], in x or in work; return which of them has the result."""
    length, stride, at = len(x), 1, 0
    for radix in radices:
        m = length // radix
        for p in range(m):
            for q in range(stride):
                _butterfly(x, q + stride * p, stride * m, radix, v)
                out = q + stride * radix * p
                work[out, 0], work[out, 1] = v[0, 0], v[0, 1]
                for k in range(1, radix):
                    if p == 0:
                        work[out + stride * k, 0], work[out + stride * k, 1] = v[k, 0], v[k, 1]
                    else:
                        w = twiddles[at + 2 * (k - 1) : at + 2 * k]
                        _put_turned(work, out + stride * k, w, v[k, 0], v[k, 1])
            if p > 0:
                at += 2 * (radix - 1)
        x, work = work, x
        length, stride = m, stride * radix
    return x


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _unpack(x: Floats, half: int, unpack: Floats, power: Floats) -> None:
    """Turn the transformed column 0 into the powers of its bins."""
    h = len(x)
    for k in range(h // 2 + 1):
        mirror = h - k if k else 0
        ar, ai, br, bi = x[k, 0], x[k, 1], x[mirror, 0], x[mirror, 1]
        c, s = unpack[k, 0], unpack[k, 1]
        er, ei, odd_r, odd_i = ar + br, ai - bi, ai + bi, br - ar
        tr, ti = fma(odd_r, c, -(odd_i * s)), fma(odd_r, s, odd_i * c)
        lr, li, hr, hi = er + tr, ei + ti, er - tr, ei - ti
        power[half * (h - k)] = _QUARTER * fma(hr, hr, hi * hi)
        power[half * k] = _QUARTER * fma(lr, lr, li * li)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _log10(x: np.float32) -> np.float32:
    """Compute log10 of a positive normal float32: see csrc/mel/log10.h."""
    bits = np.float32(x).view(np.int32)  # the cast makes it a NumPy scalar for numba
    exponent = np.int32((bits - np.int32(0x3F3504F3)) >> 23)
    f = np.int32(bits - (exponent << 23)).view(np.float32) - _ONE
    q = _LOG_FIRST
    for c in _LOG_REST:
        q = fma(q, f, c)
    log_m = f * fma(q, f, _LOG10_E)
    e = np.float32(exponent)
    level: np.float32 = fma(e, _LOG10_2_HIGH, fma(e, _LOG10_2_LOW, log_m))
    return level


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _sample(clip: Floats, i: int, pad: int, reflect: bool) -> np.float32:
    """Return sample i of a clip that is continued at both ends."""
    n = len(clip)
    if reflect:
        last = max(n, pad + 1) - 1  # a clip too short to reflect is continued with zeros
        i = abs(i)
        if last < i <= last + pad:
            i = 2 * last - i
    sample: np.float32 = clip[i] if 0 <= i < n else np.float32(0)
    return sample


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _run(clips, start, tops, out, shape, levels, bands, first, then):  # type: ignore[no-untyped-def]
    hop, pad, reflect, magnitude, log, top_kind = shape
    floor, reach, scale, offset = levels
    band_start, band_size, band_weights = bands
    order, window, turns, places = first
    radices, twiddles, unpack, bins = then
    h, split = order.shape
    half, n = split // 2, h * split
    columns = np.empty((max(half, 1), h, 2), np.float32)
    ends = np.empty(2, np.float32)
    samples = np.empty(split, np.float32)
    result = np.empty((max(half - 1, 1), 2), np.float32)
    work, v = np.empty((h, 2), np.float32), np.empty((5, 2), np.float32)
    power = np.empty(n // 2 + 2, np.float32)  # the last is nowhere
    for b in range(len(clips)):
        for t in range(out.shape[2]):
            real = columns[0].reshape(-1)
            for r in range(h):
                for m in range(split):
                    i = start + t * hop + order[r, m]
                    samples[m] = _sample(clips[b], i, pad, reflect)
                if split == 1:
                    columns[0, r, 0], columns[0, r, 1] = samples[0] * window[r, 0], np.float32(0)
                    continue
                _row(samples, window[r], ends, result)
                real[places[r, 0]], real[places[r, 1]] = ends[0], ends[1]
                for k in range(1, half):
                    re, im = result[k - 1, 0], result[k - 1, 1]
                    if turns.size:
                        _put_turned(columns[k], r, turns[r, k - 1], re, im)
                    else:
                        columns[k, r, 0], columns[k, r, 1] = re, im
            for k in range(1 if split > 1 else 0, max(half, 1)):
                x = _column(columns[k], work, radices, twiddles, v)
                for j in range(h):
                    power[bins[max(k - 1, 0), j]] = fma(x[j, 0], x[j, 0], x[j, 1] * x[j, 1])
            if split > 1:
                x = _column(columns[0], work, radices, twiddles, v)
                _unpack(x, half, unpack, power)
            if magnitude:
                for k in range(n // 2 + 1):
                    power[k] = np.sqrt(power[k])
            at = 0
            for band in range(len(band_start)):
                total = np.float32(0)
                for k in range(band_size[band]):
                    total = fma(band_weights[at + k], power[band_start[band] + k], total)
                at += band_size[band]
                if log:
                    total = _log10(max(total, floor))
                    if top_kind > 0:
                        tops[b] = max(tops[b], total)
                out[b, band, t] = total
            if log and top_kind != _CLIP:
                lowest = tops[b] - reach
                for band in range(len(band_start)):
                    out[b, band, t] = fma(max(out[b, band, t], lowest), scale, offset)
        if log and top_kind == _CLIP:
            lowest = tops[b] - reach
            for band in range(out.shape[1]):
                for t in range(out.shape[2]):
                    out[b, band, t] = fma(max(out[b, band, t], lowest), scale, offset)
