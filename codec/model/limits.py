"""Limits of what can be coded, whatever the model: a .nac file has fields for no more."""

from __future__ import annotations

from fractions import Fraction

MAX_CHANNELS = 255
MAX_CODEBOOKS = 255
MAX_CODEBOOK_SIZE = 1 << 16
MIN_SAMPLE_RATE = 1_000
MAX_SAMPLE_RATE = 768_000
MAX_FRAME_RATE_DENOMINATOR = 1 << 16


def count_streams(channels: int, together: int) -> int:
    """Count the streams of codes of so many channels, of which each carries `together`."""
    return -(-channels // together)


def frames_for(n_samples: int, sample_rate: int, frame_rate: Fraction) -> int:
    """Count the frames of `n_samples` samples: ceil(n_samples * frame_rate / sample_rate).

    The audio is resampled to r = ceil(n * R / rate) samples at the model's rate R, and r samples
    make ceil(r / hop) frames. As ceil(ceil(x) / hop) = ceil(x / hop) for a whole hop, that is
    ceil(n * (R / hop) / rate), and R / hop is the frame rate.
    """
    return -(-n_samples * frame_rate.numerator // (sample_rate * frame_rate.denominator))
