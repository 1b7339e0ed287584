"""The delay of decoded audio, found and taken out before anything is measured."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codec.quality.pair import Audio

MAX_DELAY = 0.1  # seconds, either way
CERTAIN = 0.5  # normalised correlation from which the waveforms say it
ENVELOPE = 0.01  # seconds under the moving average


def find_delay(reference: Audio, decoded: Audio, sample_rate: int) -> int:
    """Samples by which `decoded` comes later than `reference`, within 100 ms either way.

    The lag at which the waveforms' cross-correlation is largest, if it is at least half of the
    product of their norms. Codecs that invent phases never get there: for them the lag at which
    the envelopes' is (|x| under a moving average of 10 ms, its mean taken off), or 0 if that is
    less than half the average's length, which is as finely as an envelope tells.
    """
    limit = min(round(MAX_DELAY * sample_rate), len(reference) // 4)
    lag, likeness = _best_lag(_centred(reference), _centred(decoded), limit)
    if likeness >= CERTAIN:
        return lag
    size = max(1, round(ENVELOPE * sample_rate))
    window = np.full(size, 1 / size)
    first, second = (
        _centred(np.convolve(np.abs(_centred(x)), window, "same")) for x in (reference, decoded)
    )
    lag, _ = _best_lag(first, second, limit)
    return lag if abs(lag) >= size // 2 else 0


def remove_delay(reference: Audio, decoded: Audio, delay: int) -> tuple[Audio, Audio]:
    """The parts of both that overlap once `decoded` is moved to `delay` samples earlier."""
    if delay >= 0:
        return reference[: len(reference) - delay], decoded[delay:]
    return reference[-delay:], decoded[: len(decoded) + delay]


def _best_lag(
    first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], limit: int
) -> tuple[int, float]:
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    if norm == 0:
        return 0, 0.0
    size = 1 << (len(first) + limit).bit_length()
    spectrum = np.conj(np.fft.rfft(first, size)) * np.fft.rfft(second, size)
    correlation = np.fft.irfft(spectrum, size)
    lags = np.arange(-limit, limit + 1)
    found = correlation[lags]
    # Of equal ones the smallest delay, so that periodic signals stay where they are.
    near = np.flatnonzero(found >= found.max() * (1 - 1e-9) if found.max() > 0 else found == 0)
    if not len(near):
        return 0, 0.0
    best = near[np.abs(lags[near]).argmin()]
    return int(lags[best]), float(found[best]) / norm


def _centred(audio: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    floats = audio.astype(np.float64)
    return np.asarray(floats - floats.mean())
