"""Voice activity and the echo gate, on recorded speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

import codec
from codec.lm.duplex.detectors import (
    _TAPS,
    Detector,
    EnergyDetector,
    _resampling_matrix,
    decibels,
    hop_samples,
    load_detector,
)
from codec.lm.duplex.echo import EchoGate

CLIPS = Path(__file__).parents[2] / "clips"
RATE = 24_000
HOP = hop_samples(RATE)


def clip(name: str) -> np.ndarray:
    audio, rate = soundfile.read(CLIPS / f"{name}.flac", dtype="float32", always_2d=True)
    assert rate == RATE
    return audio[:, 0]


def noise(seconds: float, level: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(round(seconds * RATE)) * 10 ** (level / 20)).astype(np.float32)


def probabilities(detector: Detector, audio: np.ndarray) -> np.ndarray:
    hops = len(audio) // HOP
    return np.array([detector.push(hop) for hop in audio[: hops * HOP].reshape(hops, HOP)])


@pytest.fixture(params=["silero", "energy"])
def detector(request: pytest.FixtureRequest) -> Detector:
    if request.param == "silero":
        pytest.importorskip("silero_vad", reason="needs silero-vad")
        pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    return load_detector(RATE, request.param)


def test_speech_is_told_from_background(detector: Detector) -> None:
    before, after = noise(1, -65), noise(1, -65, 1)
    found = probabilities(detector, np.concatenate([before, clip("speech"), after]))
    first, last = len(before) // HOP, len(found) - len(after) // HOP
    assert found[10:first].max() < 0.2
    assert np.median(found[first:last]) > 0.9
    assert found[last + 10 :].max() < 0.5


def test_a_click_is_no_speech_for_long(detector: Detector) -> None:
    audio = noise(2, -65)
    audio[RATE : RATE + 48] = 0.5
    found = probabilities(detector, audio)
    assert (found >= 0.5).sum() <= 2


def test_windows_are_resampled_as_a_resampler_does() -> None:
    audio = clip("speech")
    window = 2 * HOP
    matrix = _resampling_matrix(RATE, window)
    start = 30_000
    found = matrix @ audio[start - _TAPS : start + window]
    lag = _TAPS // 2 * 16_000 // RATE
    whole = soxr.resample(audio, RATE, 16_000, "VHQ")
    expected = whole[start * 2 // 3 - lag : start * 2 // 3 - lag + len(found)]
    # All but what lies in the filter's slope near 8 kHz.
    assert decibels(found - expected) < decibels(expected) - 25


@pytest.mark.parametrize(("name", "rate"), [("loud", RATE), (3, RATE), ("energy", 44_101)])
def test_detectors_that_do_not_exist(name: object, rate: int) -> None:
    with pytest.raises(codec.BackendError):
        load_detector(rate, name)  # type: ignore[arg-type]


def test_without_the_packages_energy_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert isinstance(load_detector(RATE), EnergyDetector)
    with pytest.raises(codec.MissingPackageError, match=r"codec\[converse\]"):
        load_detector(RATE, "silero")


def room(level: float) -> np.ndarray:
    """The impulse response from loudspeaker to microphone: 40 ms away, 150 ms of reverberation."""
    rng = np.random.default_rng(3)
    tail = rng.standard_normal(RATE * 3 // 20) * np.exp(-np.arange(RATE * 3 // 20) / (0.03 * RATE))
    response = np.concatenate([np.zeros(RATE // 25), tail])
    return response * 10 ** (level / 20) / np.sqrt((response**2).sum())


def echoes(heard: np.ndarray, played: np.ndarray, gate: EchoGate) -> np.ndarray:
    hops = len(played) // HOP
    pairs = zip(
        heard[: hops * HOP].reshape(hops, HOP), played[: hops * HOP].reshape(hops, HOP), strict=True
    )
    return np.array([gate.push(h, p) for h, p in pairs])


@pytest.mark.parametrize("level", [-40.0, -25.0, -14.0])
def test_its_own_voice_in_a_room_is_echo(level: float) -> None:
    played = np.concatenate([clip("speech")] * 3)
    heard = np.convolve(played, room(level))[: len(played)].astype(np.float32) + noise(7.5, -65)
    found = echoes(heard, played, EchoGate(-12.0))
    assert found[2:].all()  # with the first hops, nothing has been played yet


@pytest.mark.parametrize("level", [-40.0, -25.0])
def test_somebody_louder_than_the_echo_is_heard(level: float) -> None:
    played = np.concatenate([clip("speech")] * 3)
    heard = np.convolve(played, room(level))[: len(played)].astype(np.float32) + noise(7.5, -65)
    speech, at = clip("speech"), 2 * RATE // HOP * HOP
    heard[at : at + len(speech)] += speech[: len(heard) - at]
    found = echoes(heard, played, EchoGate(-12.0))
    loud = [decibels(hop) > -30 for hop in speech[: len(speech) // HOP * HOP].reshape(-1, HOP)]
    missed = found[at // HOP : at // HOP + len(loud)][loud].mean()
    assert missed < 0.1


def test_silence_has_no_echo() -> None:
    speech = clip("speech")
    assert not echoes(speech, np.zeros_like(speech), EchoGate(-12.0)).any()
