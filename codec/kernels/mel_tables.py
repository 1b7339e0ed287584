"""Everything that a log-mel kernel reads beside the audio: the same tables for C and numba."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class MelTables:
    """Tables of a front end of n_fft samples a frame; csrc/fft.h says how the FFT reads them."""

    hop_length: int
    window: Floats  # [n_fft]
    radices: Ints  # their product is n_fft / 2
    twiddles: Floats  # of each step in turn [m, radix - 1, 2], flattened
    unpack: Floats  # [n_fft // 4 + 1, 2]
    band_start: Ints  # [n_mels]
    band_size: Ints  # [n_mels]
    band_weights: Floats  # the non-zero run of each filter, one after the other


def factors(n: int) -> list[int] | None:
    """n as a product of 5, 4, 3 and at most one 2; None when it is not one."""
    found = []
    for radix in (5, 4, 3, 2):
        while n % radix == 0:
            found.append(radix)
            n //= radix
    return found if n == 1 else None


def hann(n: int) -> Floats:
    """The periodic Hann window, sin^2(pi j / n)."""
    return (np.sin(np.pi * np.arange(n) / n) ** 2).astype(np.float32)


def mel_tables(filters: Floats, hop_length: int) -> MelTables:
    """Tables for `filters` [n_mels, n_fft / 2 + 1], n_fft / 2 being one that has `factors`."""
    half = filters.shape[1] - 1
    radices = factors(half)
    assert radices is not None
    twiddles, length = [], half
    for radix in radices:
        m = length // radix
        twiddles.append(_turns(np.outer(np.arange(m), np.arange(1, radix)), length))
        length = m
    # Of a filter with no bin under it (narrow bands, short frames) nothing is left: a silent band.
    used = [np.flatnonzero(row) for row in filters]
    runs = [(int(u[0]), int(u[-1]) + 1) if len(u) else (0, 0) for u in used]
    weights = [row[start:end] for row, (start, end) in zip(filters, runs, strict=True)]
    return MelTables(
        hop_length=hop_length,
        window=hann(2 * half),
        radices=np.array(radices, np.int32),
        twiddles=np.concatenate([np.empty(0, np.float32), *twiddles]),
        unpack=_turns(np.arange(half // 2 + 1), 2 * half).reshape(-1, 2),
        band_start=np.array([start for start, _ in runs], np.int32),
        band_size=np.array([end - start for start, end in runs], np.int32),
        band_weights=np.concatenate(weights),
    )


def _turns(k: npt.NDArray[np.int64], n: int) -> Floats:
    """e^(-2 pi i k / n) as pairs (re, im), flattened."""
    turn = np.exp(-2j * np.pi * (k % n) / n)
    return np.stack([turn.real, turn.imag], axis=-1).astype(np.float32).reshape(-1)
