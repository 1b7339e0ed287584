"""What a text pipeline throws away: pitch, voicing, loudness and voice."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import MetricError
from codec.quality.pair import SPEECH_RATE, Audio, check_pair, finite, package, resampled

F0_RANGE = (60.0, 500.0)  # Hz
F0_WINDOW = 1024  # samples at 16 kHz
F0_HOP = 160
MIN_VOICED = 10  # frames: 0.1 s
ENERGY_WINDOW = 0.02  # seconds, with a hop of half as much
ENERGY_RANGE = 60.0  # dB under the reference's loudest frame


def f0_correlation(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """Pearson correlation of log F0 where both are voiced; pYIN (Mauch & Dixon 2014), 60-500 Hz,
    every 10 ms. Raises MetricError if less than 0.1 s are voiced in both."""
    first, second = _contours(reference, decoded, sample_rate)
    both = ~np.isnan(first) & ~np.isnan(second)
    if both.sum() < MIN_VOICED:
        raise MetricError("F0: too little is voiced in both")
    return _correlation("F0", np.log(first[both]), np.log(second[both]))


def voicing_error(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """Share of the 10 ms frames that pYIN finds voiced in one of the two only; 0 at best."""
    first, second = _contours(reference, decoded, sample_rate)
    return finite(np.mean(np.isnan(first) != np.isnan(second)))


def energy_correlation(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """Pearson correlation of the energy in dB of frames of 20 ms, every 10 ms, clamped from below
    at 60 dB under the reference's loudest frame."""
    check_pair(reference, decoded)
    size = max(1, round(ENERGY_WINDOW * sample_rate))

    def energy(audio: Audio) -> npt.NDArray[np.float64]:
        padded = np.pad(audio.astype(np.float64), (0, max(0, size - len(audio))))
        frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: max(1, size // 2)]
        return np.asarray(np.square(frames).mean(axis=1))

    first, second = energy(reference), energy(decoded)
    if first.max() == 0:
        raise MetricError("energy: the reference is silent")
    floor = first.max() * 10 ** (-ENERGY_RANGE / 10)
    levels = (10 * np.log10(np.maximum(x, floor)) for x in (first, second))
    return _correlation("energy", *levels)


def speaker_similarity(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """Cosine of Resemblyzer's speaker embeddings (GE2E, Wan et al. 2018); 1 for equal signals."""
    check_pair(reference, decoded)
    first, second = (speaker_embedding(x, sample_rate) for x in (reference, decoded))
    return finite(first @ second / max(np.linalg.norm(first) * np.linalg.norm(second), 1e-12))


def speaker_embedding(audio: Audio, sample_rate: int) -> Any:
    """Return Resemblyzer's embedding of the speaker of `audio` [samples]: float32 [256]."""
    return _speaker_encoder().embed_utterance(_voice_copy(audio, sample_rate))


def _voice_copy(audio: Audio, sample_rate: int) -> Audio:
    copy = resampled(audio, sample_rate, SPEECH_RATE)
    normalised: Audio = package("resemblyzer", "speaker").normalize_volume(
        copy, -30, increase_only=True
    )
    return normalised


@functools.cache
def _speaker_encoder() -> Any:
    return package("resemblyzer", "speaker").VoiceEncoder("cpu", verbose=False)


def _contours(
    reference: Audio, decoded: Audio, sample_rate: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    check_pair(reference, decoded)
    first, second = (_f0(x.astype(np.float32).tobytes(), sample_rate) for x in (reference, decoded))
    return first, second


@functools.lru_cache(maxsize=4)  # two measures of one pair
def _f0(samples: bytes, sample_rate: int) -> npt.NDArray[np.float64]:
    """F0 in Hz, NaN where unvoiced."""
    audio = resampled(np.frombuffer(samples, np.float32), sample_rate, SPEECH_RATE)
    low, high = F0_RANGE
    f0, _, _ = package("librosa").pyin(
        audio, fmin=low, fmax=high, sr=SPEECH_RATE, frame_length=F0_WINDOW, hop_length=F0_HOP
    )
    return np.asarray(f0, np.float64)


def _correlation(
    what: str, first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]
) -> float:
    if first.std() == 0 or second.std() == 0:
        raise MetricError(f"{what}: it does not change, so there is no correlation")
    return finite(np.corrcoef(first, second)[0, 1])
