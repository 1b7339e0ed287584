"""The log-mel front end in numba: the arithmetic of csrc/mel.c, operation by operation."""

from __future__ import annotations

from typing import cast

import numba
import numpy as np
import numpy.typing as npt

from codec.kernels.mel_tables import MelTables

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

_COS72 = np.float32(0.309016994374947424)
_SIN72 = np.float32(0.951056516295153572)
_COS144 = np.float32(-0.809016994374947424)
_SIN144 = np.float32(0.587785252292473129)
_SIN60 = np.float32(0.866025403784438647)
_HALF = np.float32(0.5)
_CLAMP = np.float32(1e-10)
_RANGE = np.float32(8)
_LOG10_2_HIGH = np.float32(float.fromhex("0x1.3440p-2"))
_LOG10_2_LOW = np.float32(float.fromhex("0x1.3509f8p-18"))
_LOG10_E = np.float32(0.434294481903251828)
_ARTANH = tuple(np.float32(c) for c in (0.6666666667, 0.4, 0.2857142857, 0.2222222222))
_ONE, _TWO, _FOUR, _QUARTER = np.float32(1), np.float32(2), np.float32(4), np.float32(0.25)


def run(clips: Floats, tables: MelTables) -> Floats:
    """clips [B, samples] -> [B, n_mels, samples // hop]; `codec.mel.log_mel` has checked them."""
    return cast(
        Floats,
        _run(
            clips,
            tables.hop_length,
            tables.window,
            tables.radices,
            tables.twiddles,
            tables.unpack,
            tables.band_start,
            tables.band_size,
            tables.band_weights,
        ),
    )


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _put(y: Floats, i: int, w: Floats, re: float, im: float) -> None:
    y[i, 0] = re * w[0] - im * w[1]
    y[i, 1] = re * w[1] + im * w[0]


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _step(radix: int, m: int, stride: int, w: Floats, x: Floats, y: Floats) -> None:
    """One step of Stockham's FFT, x and y [n_fft / 2, 2], w [m, radix - 1, 2]: see csrc/fft.h."""
    for p in range(m):
        for q in range(stride):
            i, o, hop = q + stride * p, q + stride * radix * p, stride * m
            ar, ai = x[i, 0], x[i, 1]
            if radix == 2:
                br, bi = x[i + hop, 0], x[i + hop, 1]
                y[o, 0], y[o, 1] = ar + br, ai + bi
                _put(y, o + stride, w[p, 0], ar - br, ai - bi)
            elif radix == 3:
                br, bi = x[i + hop, 0], x[i + hop, 1]
                cr, ci = x[i + 2 * hop, 0], x[i + 2 * hop, 1]
                sr, si = br + cr, bi + ci
                dr, di = _SIN60 * (br - cr), _SIN60 * (bi - ci)
                mr, mi = ar - _HALF * sr, ai - _HALF * si
                y[o, 0], y[o, 1] = ar + sr, ai + si
                _put(y, o + stride, w[p, 0], mr + di, mi - dr)
                _put(y, o + 2 * stride, w[p, 1], mr - di, mi + dr)
            elif radix == 4:
                br, bi = x[i + hop, 0], x[i + hop, 1]
                cr, ci = x[i + 2 * hop, 0], x[i + 2 * hop, 1]
                dr, di = x[i + 3 * hop, 0], x[i + 3 * hop, 1]
                s0r, s0i, d0r, d0i = ar + cr, ai + ci, ar - cr, ai - ci
                s1r, s1i, d1r, d1i = br + dr, bi + di, br - dr, bi - di
                y[o, 0], y[o, 1] = s0r + s1r, s0i + s1i
                _put(y, o + stride, w[p, 0], d0r + d1i, d0i - d1r)
                _put(y, o + 2 * stride, w[p, 1], s0r - s1r, s0i - s1i)
                _put(y, o + 3 * stride, w[p, 2], d0r - d1i, d0i + d1r)
            else:
                br, bi = x[i + hop, 0], x[i + hop, 1]
                cr, ci = x[i + 2 * hop, 0], x[i + 2 * hop, 1]
                dr, di = x[i + 3 * hop, 0], x[i + 3 * hop, 1]
                er, ei = x[i + 4 * hop, 0], x[i + 4 * hop, 1]
                s1r, s1i, d1r, d1i = br + er, bi + ei, br - er, bi - ei
                s2r, s2i, d2r, d2i = cr + dr, ci + di, cr - dr, ci - di
                m1r = ar + (_COS72 * s1r + _COS144 * s2r)
                m1i = ai + (_COS72 * s1i + _COS144 * s2i)
                m2r = ar + (_COS144 * s1r + _COS72 * s2r)
                m2i = ai + (_COS144 * s1i + _COS72 * s2i)
                v1r, v1i = _SIN72 * d1r + _SIN144 * d2r, _SIN72 * d1i + _SIN144 * d2i
                v2r, v2i = _SIN144 * d1r - _SIN72 * d2r, _SIN144 * d1i - _SIN72 * d2i
                y[o, 0], y[o, 1] = ar + (s1r + s2r), ai + (s1i + s2i)
                _put(y, o + stride, w[p, 0], m1r + v1i, m1i - v1r)
                _put(y, o + 2 * stride, w[p, 1], m2r + v2i, m2i - v2r)
                _put(y, o + 3 * stride, w[p, 2], m2r - v2i, m2i + v2r)
                _put(y, o + 4 * stride, w[p, 3], m1r - v1i, m1i + v1r)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _power(
    x: Floats, work: Floats, radices: Ints, twiddles: Floats, unpack: Floats, power: Floats
) -> None:
    """|X_k|^2 of the real signal x [n_fft / 2, 2] -> power [n_fft / 2 + 1]; x is used up."""
    half = len(x)
    length, stride, at = half, 1, 0
    for radix in radices:
        m = length // radix
        size = m * (radix - 1) * 2
        w = twiddles[at : at + size].reshape((m, radix - 1, 2))
        _step(radix, m, stride, w, x, work)
        x, work = work, x
        at, length, stride = at + size, m, stride * radix
    for k in range(half // 2 + 1):
        ar, ai = x[k, 0], x[k, 1]
        br, bi = x[half - k if k else 0, 0], x[half - k if k else 0, 1]
        c, s = unpack[k, 0], unpack[k, 1]
        er, ei = _HALF * (ar + br), _HALF * (ai - bi)
        odd_r, odd_i = _HALF * (ai + bi), _HALF * (br - ar)
        tr, ti = odd_r * c - odd_i * s, odd_r * s + odd_i * c
        power[k] = (er + tr) * (er + tr) + (ei + ti) * (ei + ti)
        power[half - k] = (er - tr) * (er - tr) + (ei - ti) * (ei - ti)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _log10(x: np.float32) -> np.float32:
    """log10 of a positive normal float32: see csrc/log10.h."""
    bits = np.float32(x).view(np.int32)  # the cast is what lets numba see a NumPy scalar
    exponent = np.int32((bits - np.int32(0x3F3504F3)) >> 23)
    m = np.int32(bits - (exponent << 23)).view(np.float32)
    s = (m - _ONE) / (m + _ONE)
    z = s * s
    tail = z * (_ARTANH[0] + z * (_ARTANH[1] + z * (_ARTANH[2] + z * _ARTANH[3])))
    log_m = _TWO * s + s * tail
    e = np.float32(exponent)
    return e * _LOG10_2_HIGH + (e * _LOG10_2_LOW + _LOG10_E * log_m)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _run(
    clips: Floats,
    hop: int,
    window: Floats,
    radices: Ints,
    twiddles: Floats,
    unpack: Floats,
    band_start: Ints,
    band_size: Ints,
    band_weights: Floats,
) -> Floats:
    n_fft, n_mels = len(window), len(band_start)
    half = n_fft // 2
    n = clips.shape[1]
    n_frames = n // hop
    last = max(n, half + 1) - 1  # a clip too short to reflect is continued with zeros
    out = np.empty((len(clips), n_mels, n_frames), np.float32)
    x, work = np.empty((half, 2), np.float32), np.empty((half, 2), np.float32)
    power = np.empty(half + 1, np.float32)
    for b in range(len(clips)):
        top = np.float32(-np.inf)
        for t in range(n_frames):
            for j in range(n_fft):
                i = abs(t * hop - half + j)
                i = 2 * last - i if i > last else i
                sample = clips[b, i] if i < n else np.float32(0)
                x[j >> 1, j & 1] = sample * window[j]
            _power(x, work, radices, twiddles, unpack, power)
            at = 0
            for band in range(n_mels):
                total = np.float32(0)
                for k in range(band_size[band]):
                    total += band_weights[at + k] * power[band_start[band] + k]
                at += band_size[band]
                level = _log10(max(total, _CLAMP))
                top = max(top, level)
                out[b, band, t] = level
        floor = top - _RANGE
        for band in range(n_mels):
            for t in range(n_frames):
                out[b, band, t] = (max(out[b, band, t], floor) + _FOUR) * _QUARTER
    return out
