"""What all measures share: pairs of signals that can be compared, and the copies that are heard."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from codec.errors import MetricError, MissingPackageError
from codec.support.packages import imported

Audio = npt.NDArray[np.float32]

SPEECH_RATE = 16_000

SILENCE_DB = -40.0
SILENCE_FRAME = 0.02


def check_pair(reference: Audio, decoded: Audio) -> None:
    """Raises MetricError unless both are finite, [samples], of one length that is not zero."""
    if reference.ndim != 1 or reference.shape != decoded.shape or not len(reference):
        raise MetricError(
            f"need two signals of one equal length, got {reference.shape} and {decoded.shape}"
        )
    for name, audio in (("reference", reference), ("decoded audio", decoded)):
        if not np.isfinite(audio).all():
            raise MetricError(f"the {name} has samples that are not finite")


def finite(value: Any) -> float:
    """`value` as a float. Raises MetricError if it is NaN or infinite."""
    number = float(value)
    if not np.isfinite(number):
        raise MetricError(f"measured {number}")
    return number


def package(name: str, extra: str = "quality") -> Any:
    """The module `name`. Raises MissingPackageError, naming the extra that brings it."""
    try:
        return imported(name)
    except ImportError:
        raise MissingPackageError(
            f"{name} is not installed: pip install 'codec[{extra}]'"
        ) from None


def resampled(audio: Audio, sample_rate: int, to_rate: int) -> Audio:
    """`audio` [samples] at `to_rate` Hz (soxr, VHQ)."""
    copy: Audio = soxr.resample(audio, sample_rate, to_rate, "VHQ")
    return copy


def trim_silence(reference: Audio, decoded: Audio, sample_rate: int) -> tuple[Audio, Audio]:
    """Both signals without the reference's leading and trailing silence.

    Silent means: frames of 20 ms whose energy is more than 40 dB under that of the loudest frame
    of the reference. The same cut is made in both. Raises MetricError on a reference of zeros.
    """
    size = round(SILENCE_FRAME * sample_rate)
    padded = np.pad(reference, (0, -len(reference) % size)).astype(np.float64)
    energy = np.square(padded.reshape(-1, size)).sum(axis=1)
    if not energy.any():
        raise MetricError("the reference is silent")
    loud = np.flatnonzero(energy >= energy.max() * 10 ** (SILENCE_DB / 10))
    kept = slice(loud[0] * size, (loud[-1] + 1) * size)
    return reference[kept], decoded[kept]


def speech_copies(reference: Audio, decoded: Audio, sample_rate: int) -> tuple[Audio, Audio]:
    """Silence-trimmed copies at 16 kHz, as PESQ, STOI and ViSQOL's speech mode hear them.

    Raises MetricError if either is silent: PESQ and ViSQOL have no value then.
    """
    check_pair(reference, decoded)
    first, second = (resampled(x, sample_rate, SPEECH_RATE) for x in (reference, decoded))
    trimmed = trim_silence(first, second, SPEECH_RATE)
    if not trimmed[1].any():
        raise MetricError("the decoded audio is silent")
    return trimmed
