"""The tables of csrc/library/tables.c a second time, whose bits it must have.

Angles go through the same Taylor series in float64, band edges through Python's decimal arithmetic,
which rounds logarithms and exponentials correctly.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal, localcontext

import numpy as np
import numpy.typing as npt

from codec.errors import ModelError
from codec.kernels.mel_tables import factors

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Doubles = npt.NDArray[np.float64]

MAX_FFT = 1 << 16  # beyond it a damaged configuration asks for memory, not a model
HALF_PI = float.fromhex("0x1.921fb54442d18p0")


def circle(k: npt.ArrayLike, n: int) -> tuple[Doubles, Doubles]:
    """Compute cos and sin of 2 pi k / n, k integer: exact where 0 or 1, error below 2^-52."""
    # in quarters of 1 / n turn; mirrored into the first eighth of the circle
    m = 4 * (np.asarray(k, np.int64) % n)
    below = m > 2 * n
    m = np.where(below, 4 * n - m, m)
    left = m > n
    m = np.where(left, 2 * n - m, m)
    steep = 2 * m > n
    m = np.where(steep, n - m, m)
    angle = HALF_PI * (m / n)
    square = angle * angle
    # the first term dropped is below (pi / 4)^19 / 19! < 1e-19
    sin, cos = np.ones_like(angle), np.ones_like(angle)
    for i in range(16, 0, -2):
        sin = 1.0 - square / float(i * (i + 1)) * sin
        cos = 1.0 - square / float(i * (i - 1)) * cos
    sin = angle * sin
    cos, sin = np.where(steep, sin, cos), np.where(steep, cos, sin)
    return np.where(left, -cos, cos), np.where(below, -sin, sin)


@dataclasses.dataclass(frozen=True)
class FftTables:
    """The tables that csrc/kernels/fft.h reads for a transform of n real samples."""

    n: int
    radices: Ints  # their product is n / 2
    twiddles: Floats  # of each step in turn [m, radix - 1, 2], flattened
    unpack: Floats  # [n // 4 + 1, 2]


def fft_tables(n: int) -> FftTables:
    """Make tables for even n, 4 to MAX_FFT, n / 2 without prime factors above 5, or ModelError."""
    radices = factors(n // 2) if 4 <= n <= MAX_FFT and n % 2 == 0 else None
    if radices is None:
        raise ModelError(f"no FFT of {n} samples: 4 to {MAX_FFT}, even, of factors 2, 3 and 5")
    twiddles, length = [], n // 2
    for radix in radices:
        twiddles.append(_turns(np.outer(np.arange(length // radix), np.arange(1, radix)), length))
        length //= radix
    return FftTables(
        n=n,
        radices=np.array(radices, np.int32),
        twiddles=np.concatenate(twiddles),
        unpack=_turns(np.arange(n // 4 + 1), n),
    )


def _turns(k: npt.ArrayLike, n: int) -> Floats:
    """Compute e^(-2 pi i k / n) as pairs (re, im), flattened."""
    cos, sin = circle(k, n)
    return np.stack([cos, -sin], axis=-1).astype(np.float32).reshape(-1)


def hann(n: int) -> Floats:
    """Compute the periodic Hann window, sin^2(pi j / n)."""
    _, sin = circle(np.arange(n), 2 * n)
    return (sin * sin).astype(np.float32)


def synthesis_window(n: int, hop: int) -> Floats:
    """Compute sin(pi (j + 1/2) / n), times 2 hop / n (overlap), times 1 / n (inverse FFT)."""
    _, sin = circle(2 * np.arange(n) + 1, 4 * n)
    return (sin * (2 * hop / n) / n).astype(np.float32)


def band_edges(n_bands: int, sample_rate: int) -> Doubles:
    """Compute frequencies in Hz, equidistant on HTK's mel scale from 0 to half the sample rate.

    mel = 2595 log10(1 + f / 700), so f_i = 700 ((1 + top / 700)^(i / (n_bands - 1)) - 1).
    """
    with localcontext() as context:
        context.prec = 40
        log = (1 + Decimal(sample_rate) / 1400).ln()
        return np.array(
            [float(700 * ((log * i / (n_bands - 1)).exp() - 1)) for i in range(n_bands)]
        )


def band_weights(n_bands: int, n_fft: int, sample_rate: int) -> tuple[Ints, Floats, Floats]:
    """Return for each bin the lower of the two bands around it, and the weights of both.

    Raises ModelError unless there are 2 bands or more, and no more than bins.
    """
    if not 2 <= n_bands <= n_fft // 2 + 1:
        raise ModelError(f"{n_bands} bands for the {n_fft // 2 + 1} bins of a spectrum")
    edges = band_edges(n_bands, sample_rate)
    hertz = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    upper = np.clip(np.searchsorted(edges, hertz), 1, n_bands - 1)
    low, high = edges[upper - 1], edges[upper]
    weight = np.clip((hertz - low) / (high - low), 0.0, 1.0)
    return (
        (upper - 1).astype(np.int32),
        (1.0 - weight).astype(np.float32),
        weight.astype(np.float32),
    )
