"""Voice activity: how likely it is that somebody speaks, every 16 ms."""

from __future__ import annotations

import importlib.util
from collections import deque
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from codec.errors import BackendError, MissingPackageError
from codec.support.arguments import shown

Floats = npt.NDArray[np.float32]

HOP_SECONDS = Fraction(16, 1000)
SILERO_RATE = 16_000


class Detector(Protocol):
    """Tell speech from everything else, one hop after another."""

    def push(self, hop: Floats) -> float:
        """Take the next `HOP_SECONDS` of the microphone; give the probability of speech, 0 to 1."""


def hop_samples(rate: int) -> int:
    """Return the samples of a hop at `rate`. Raises BackendError if they are not whole."""
    hop = HOP_SECONDS * rate
    if hop.denominator != 1:
        raise BackendError(f"at {rate} Hz, 16 ms are not a whole number of samples")
    return int(hop)


class EnergyDetector:
    """Call speech what is louder than the background: no package, no weights, any language.

    The background is the quietest hop of the last two seconds, at least -65 dBFS. The probability
    rises from 0 at 6 dB above it to 1 at 18 dB; after 64 ms of speech it does not fall below .5 for
    another 80 ms, as the consonants of a word may be no louder than the background. Music and
    slamming doors are speech to it, too.
    """

    def __init__(self, rate: int) -> None:
        hop_samples(rate)
        self._above = _Above()
        self._run = self._hang = 0

    def push(self, hop: Floats) -> float:
        """See `Detector.push`."""
        probability = min(1.0, max(0.0, (self._above.push(hop) - 6.0) / 12.0))
        if probability >= 0.5:
            self._run += 1
            self._hang = 5 if self._run >= 4 else self._hang
            return probability
        self._run, hanging, self._hang = 0, self._hang > 0, max(0, self._hang - 1)
        return 0.5 if hanging else probability


class SileroDetector:
    """Ask the Silero VAD, the network of the package silero-vad, run by onnxruntime.

    It judges windows of 32 ms one after another. Two copies of it, half a window apart, judge every
    16 ms: an onset is found 8 ms earlier on average, for .4 ms of CPU time per window. A sound that
    is 9 dB above the background has a probability of .25 at least: enough to hold a reply until the
    network, which needs more of an onset to be sure, has judged it.
    Raises MissingPackageError without the packages.
    """

    def __init__(self, rate: int) -> None:
        self._session = _silero_session()
        self._hop = hop_samples(rate)
        self._recent = np.zeros(2 * self._hop + _TAPS, np.float32)
        self._resampler = _resampling_matrix(rate, 2 * self._hop)
        self._copies = [_SileroCopy(), _SileroCopy()]
        self._above = _Above()

    def push(self, hop: Floats) -> float:
        """See `Detector.push`."""
        self._recent = np.concatenate([self._recent[self._hop :], hop])
        copy = self._copies[0]
        self._copies.reverse()
        probability = copy.judge(self._session, self._resampler @ self._recent)
        return max(probability, 0.25 if self._above.push(hop) >= 9.0 else 0.0)


class _Above:
    """How far the level is above the background, in dB."""

    def __init__(self) -> None:
        self._levels: deque[float] = deque(maxlen=round(2 / HOP_SECONDS))

    def push(self, hop: Floats) -> float:
        self._levels.append(max(-65.0, decibels(hop)))
        return self._levels[-1] - min(self._levels)


class _SileroCopy:
    """The state of the network between the windows that one copy sees."""

    def __init__(self) -> None:
        self.state = np.zeros((2, 1, 128), np.float32)
        self.context = np.zeros(64, np.float32)  # the end of the window before, as it was trained

    def judge(self, session: Any, window: Floats) -> float:
        seen = np.concatenate([self.context, window])[None]
        fed = {"input": seen, "state": self.state, "sr": np.array(SILERO_RATE, np.int64)}
        probability, self.state = session.run(None, fed)
        self.context = window[-64:]
        return float(probability[0, 0])


_TAPS = 48  # samples of the past that the resampling filter reaches into; it delays by half of them


def _resampling_matrix(rate: int, window: int) -> Floats:
    """Return float32 [512, window + taps] that takes samples at `rate` to a window at 16 kHz.

    Each row is a sinc, low-pass at 7.2 kHz or less, under a Hann window: one product per window is
    the whole resampler, and how the microphone was cut into pieces cannot change a bit of it.
    """
    length = int(2 * HOP_SECONDS * SILERO_RATE)
    place = np.arange(length)[:, None] * rate / SILERO_RATE + _TAPS / 2
    away = np.arange(window + _TAPS)[None, :] - place
    cutoff = 0.9 * min(rate, SILERO_RATE) / rate
    shape = np.where(np.abs(away) < _TAPS / 2, 0.5 + 0.5 * np.cos(2 * np.pi * away / _TAPS), 0.0)
    return (cutoff * np.sinc(cutoff * away) * shape).astype(np.float32)


def _silero_session() -> Any:
    # The package imports torch when it is imported; only the weights in its folder are needed.
    spec = importlib.util.find_spec("silero_vad")
    try:
        import onnxruntime
    except ImportError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(
            "the Silero detector needs silero-vad and onnxruntime: pip install 'codec[converse]'"
        )
    weights = Path(spec.submodule_search_locations[0], "data", "silero_vad.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])


def load_detector(rate: int, name: Literal["silero", "energy"] | None = None) -> Detector:
    """Make the detector of that name; by default Silero's where its packages are installed.

    rate: of the samples it will be given, Hz.
    Raises BackendError on another name or a rate it cannot take, MissingPackageError.
    """
    if name == "energy":
        return EnergyDetector(rate)
    if name not in ("silero", None):
        raise BackendError(f"a voice detector is silero or energy, not {shown(name)}")
    try:
        return SileroDetector(rate)
    except MissingPackageError:
        if name is not None:
            raise
        return EnergyDetector(rate)


def decibels(samples: Floats) -> float:
    """Return the level of `samples` in dBFS, -120 at least."""
    power = float(np.dot(samples, samples)) / max(1, len(samples))
    return 10 * float(np.log10(max(power, 1e-12)))
