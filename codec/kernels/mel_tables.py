"""Everything besides the audio that a log-mel kernel reads: the same tables for all kernels."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

TOPS = ("fixed", "running", "clip")  # csrc/mel/mel.h's MEL_TOP_...
SPLITS = (16, 8, 4, 2, 1)


@dataclasses.dataclass(frozen=True)
class RfftTables:
    """Tables for the FFT of n real, windowed samples; csrc/mel/rfft.h says how they are read."""

    n: int
    split: int
    order: Ints  # [h, split], h = n / split
    window: Floats  # [h, split]: of sample order[r, m]
    turns: Floats  # [h, split / 2 - 1, 2]; empty if h is odd
    places: Ints  # [h, 2]; empty if split is 1
    radices: Ints  # their product is h
    twiddles: Floats  # of each step in turn [m - 1, radix - 1, 2], flattened
    unpack: Floats  # [h / 2 + 1, 2]
    bins: Ints  # [max(split / 2 - 1, 1), h]


@dataclasses.dataclass(frozen=True)
class MelTables:
    """Tables and numbers of a front end: the fields of csrc/mel/mel.h's mel_plan."""

    fft: RfftTables
    hop_length: int
    pad: int
    band_start: Ints  # [n_mels]
    band_size: Ints  # [n_mels]
    band_weights: Floats  # the non-zero run of each filter, one after the other
    reflect: bool
    magnitude: bool
    log: bool
    top: int  # of TOPS
    floor: float
    range: float
    scale: float
    offset: float


def factors(n: int) -> list[int] | None:
    """Factor n into 5, 4, 3 and at most one 2; None if that is impossible."""
    found = []
    for radix in (5, 4, 3, 2):
        while n % radix == 0:
            found.append(radix)
            n //= radix
    return found if n == 1 else None


def rfft_tables(window: Floats) -> RfftTables:
    """Make tables for frames under `window` [n], where n >= 3 has `factors`."""
    n = len(window)
    split = next(s for s in SPLITS if n % s == 0 and n > s)
    h, half = n // split, split // 2
    r, m, k = np.arange(h)[:, None], np.arange(split), np.arange(n)
    coprime = h % 2 == 1
    order = (split * r + h * m) % n if coprime else r + h * m
    column, element = k % split, k % h if coprime else k // split
    bins = np.empty((max(half - 1, 1), h), np.int32)
    if split == 1:
        bins[0] = np.where(k <= n // 2, k, n // 2 + 1)
    else:
        own = (column >= 1) & (column < half)  # the rest is column 0, and conjugates
        bins[column[own] - 1, element[own]] = np.minimum(k, n - k)[own]
    if half <= 1 and split > 1:
        bins[:] = 0  # there is no column but column 0
    radices = factors(h)
    assert radices is not None
    twiddles, length = [np.empty(0, np.float32)], h
    for radix in radices:
        m_ = length // radix
        turns = _turns(np.outer(np.arange(1, m_), np.arange(1, radix)), length)
        twiddles.append(turns.reshape(-1))
        length = m_
    return RfftTables(
        n=n,
        split=split,
        order=order.astype(np.int32),
        window=window[order],
        turns=_turns(r * np.arange(1, 1 if coprime else max(half, 1)), n),
        places=(order[:, : 2 if split > 1 else 0] % (2 * h)).astype(np.int32),
        radices=np.array(radices, np.int32),
        twiddles=np.concatenate(twiddles),
        unpack=_turns(np.arange(h // 2 + 1), 2 * h),
        bins=bins,
    )


def bands(filters: Floats) -> tuple[Ints, Ints, Floats]:
    """Return band_start, band_size and band_weights of `filters` [n_mels, bins].

    Of a filter with no bin under it (narrow bands, short frames) nothing is left: a silent band.
    """
    used = [np.flatnonzero(row) for row in filters]
    runs = [(int(u[0]), int(u[-1]) + 1) if len(u) else (0, 0) for u in used]
    weights = [row[start:end] for row, (start, end) in zip(filters, runs, strict=True)]
    return (
        np.array([start for start, _ in runs], np.int32),
        np.array([end - start for start, end in runs], np.int32),
        np.concatenate(weights),
    )


def _turns(k: npt.NDArray[np.int64], n: int) -> Floats:
    """Compute e^(-2 pi i k / n) as pairs: k [...] -> [..., 2]."""
    turn = np.exp(-2j * np.pi * (k % n) / n)
    return np.stack([turn.real, turn.imag], axis=-1).astype(np.float32)
