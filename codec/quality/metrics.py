"""The table of all measures, and the measuring of a pair."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np

from codec.errors import MetricError
from codec.quality import blind, perceptual, phones, prosody, spectral, whisper, words
from codec.quality.alignment import find_delay, remove_delay
from codec.quality.pair import Audio, check_pair
from codec.support.packages import imported

ANY = frozenset({"speech", "any"})
SPEECH = frozenset({"speech"})


@dataclasses.dataclass(frozen=True)
class Metric:
    """A measure of decoded audio, called with float32 [samples] of one length.

    best: its value for identical signals; of what hears the decoded audio alone, the scale's end.
    kinds: "any" if it is for every audio, "speech" if for speech. needs: packages, by spaces.
    cost: about so many seconds for 10 s of audio.
    """

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    best: float
    kinds: frozenset[str]
    needs: str | None
    cost: float
    function: Callable[..., float] = dataclasses.field(repr=False)
    needs_text: bool = False
    takes_text: bool = False  # uses a transcript where there is one
    ready: Callable[[], bool] = lambda: True  # whether what is no package is there too

    def __call__(
        self, reference: Audio, decoded: Audio, sample_rate: int, text: str | None = None
    ) -> float:
        """One finite number. Raises MetricError, or MissingPackageError naming the extra."""
        if self.needs_text or self.takes_text:
            return self.function(reference, decoded, sample_rate, text)
        return self.function(reference, decoded, sample_rate)

    @property
    def available(self) -> bool:
        """Whether the packages, and the models that come apart from them, are installed."""
        packages = (self.needs or "").split()
        return all(importlib.util.find_spec(name) for name in packages) and self.ready()


@dataclasses.dataclass(frozen=True)
class Measured:
    """delay: seconds by which the decoded audio came later, taken out before measuring."""

    values: dict[str, float]
    delay: float


def _dnsmos(part: str) -> Callable[..., float]:
    return functools.partial(blind.dnsmos, part=part)


_ALL = (
    Metric("pesq_wb", "PESQ-WB", "MOS", "higher", 4.644, SPEECH, "pesq", 0.5, perceptual.pesq_wb),
    Metric("pesq_nb", "PESQ-NB", "MOS", "higher", 4.549, SPEECH, "pesq", 0.3, perceptual.pesq_nb),
    Metric("stoi", "STOI", "", "higher", 1.0, SPEECH, "pystoi", 0.1, perceptual.stoi),
    Metric("estoi", "ESTOI", "", "higher", 1.0, SPEECH, "pystoi", 0.1, perceptual.estoi),
    Metric(
        "visqol_speech", "ViSQOL", "MOS", "higher", 5.0, SPEECH, "visqol", 2.0,
        perceptual.visqol_speech,
    ),
    Metric(
        "visqol_audio", "ViSQOL audio", "MOS", "higher", 4.732, ANY, "visqol", 6.0,
        perceptual.visqol_audio,
    ),
    Metric("mel", "mel distance", "", "lower", 0.0, ANY, None, 0.1, spectral.mel_distance),
    Metric("lsd", "LSD", "dB", "lower", 0.0, ANY, None, 0.1, spectral.log_spectral_distance),
    Metric(
        "mrstft", "MR-STFT", "", "lower", 0.0, ANY, "torch auraloss", 0.1,
        spectral.multi_resolution_stft,
    ),
    Metric("si_sdr", "SI-SDR", "dB", "higher", 100.0, ANY, None, 0.01, spectral.si_sdr),
    Metric(
        "dnsmos_ovrl", "DNSMOS overall", "MOS", "higher", 5.0, SPEECH,
        "speechmos onnxruntime librosa", 0.5, _dnsmos("ovrl"),
    ),
    Metric(
        "dnsmos_sig", "DNSMOS speech", "MOS", "higher", 5.0, SPEECH,
        "speechmos onnxruntime librosa", 0.5, _dnsmos("sig"),
    ),
    Metric(
        "dnsmos_bak", "DNSMOS background", "MOS", "higher", 5.0, SPEECH,
        "speechmos onnxruntime librosa", 0.5, _dnsmos("bak"),
    ),
    Metric(
        "distillmos", "DistillMOS", "MOS", "higher", 5.0, SPEECH, "torch distillmos", 0.5,
        blind.distillmos,
    ),
    Metric(
        "f0_corr", "F0 correlation", "", "higher", 1.0, SPEECH, "librosa", 2.0,
        prosody.f0_correlation,
    ),
    Metric(
        "voicing_error", "voicing error", "", "lower", 0.0, SPEECH, "librosa", 2.0,
        prosody.voicing_error,
    ),
    Metric(
        "energy_corr", "energy correlation", "", "higher", 1.0, ANY, None, 0.01,
        prosody.energy_correlation,
    ),
    Metric(
        "speaker_sim", "speaker similarity", "", "higher", 1.0, SPEECH, "torch resemblyzer", 0.5,
        prosody.speaker_similarity,
    ),
    Metric(
        "wer", "WER", "", "lower", 0.0, SPEECH, "pocketsphinx", 5.0, words.word_error_rate, True
    ),
    Metric(
        "wer_whisper", "WER (Whisper)", "", "lower", 0.0, SPEECH, "faster_whisper whisper", 2.0,
        whisper.word_error_rate, needs_text=True, ready=whisper.has_model,
    ),
    Metric(
        "per", "PER", "", "lower", 0.0, SPEECH, "hama", 0.5, phones.phone_error_rate,
        takes_text=True,
    ),
)  # fmt: skip

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})


def available() -> list[str]:
    """Names of the measures whose packages are here."""
    return [name for name, metric in METRICS.items() if metric.available]


def broken(names: Iterable[str]) -> dict[str, str]:
    """Which of the measures `names` cannot run here, and the real reason: the packages are loaded,
    since one that is installed may not load."""
    reasons = {}
    for name in names:
        metric = METRICS["visqol_audio" if name == "visqol" else name]
        for needed in (metric.needs or "").split():
            try:
                imported(needed)
            except ModuleNotFoundError as error:
                own = error.name == needed
                reasons[name] = f"{needed} is not installed" if own else _unloaded(needed, error)
            except Exception as error:  # whatever a package does when it is loaded
                reasons[name] = _unloaded(needed, error)
    return reasons


def _unloaded(package: str, error: Exception) -> str:
    return f"{package} does not load: {' '.join(str(error).split()) or type(error).__name__}"


def names_for(kind: str, text: str | None = None) -> list[str]:
    """The measures that can run here for clips of `kind` ("speech", or anything else): ViSQOL as
    `visqol`, in the mode of the kind, and the word error rate where there is a transcript."""
    names = []
    for name in available():
        metric = METRICS[name]
        if name == "visqol_audio":
            names.append("visqol")
        elif name != "visqol_speech" and (kind == "speech" or "any" in metric.kinds):
            names += [name] if text or not metric.needs_text else []
    return names


def measure(
    reference: Audio,
    decoded: Audio,
    sample_rate: int,
    *,
    kind: str,
    names: Sequence[str] | None = None,
    text: str | None = None,
    clip: str = "clip",
    align: bool = True,
    failed: dict[str, str] | None = None,
) -> Measured:
    """All measures of one pair by name, in the order of `names`, by default `names_for(kind)`.

    reference, decoded: float32 [samples] at `sample_rate` Hz. kind: "speech", or anything else.
    align: whether to take out the delay first (`codec.quality.alignment`). failed: where to put
    why a measure has no value for this pair, by its name, and go on without it. Raises MetricError,
    its message beginning with `clip`, if there is no such dict, or if one is not for this kind;
    MissingPackageError naming the extra.
    """
    try:
        check_pair(reference, decoded)
        delay = find_delay(reference, decoded, sample_rate) if align else 0
        pair = [np.ascontiguousarray(x) for x in remove_delay(reference, decoded, delay)]
        values = {}
        for name in names_for(kind, text) if names is None else names:
            metric = _metric(name, kind)
            try:
                values[name] = metric(pair[0], pair[1], sample_rate, text)
            except MetricError as error:
                if failed is None:
                    raise MetricError(f"{name}: {error}") from None
                failed[name] = str(error)
    except MetricError as error:
        raise MetricError(f"{clip}: {error}") from None
    return Measured(values, delay / sample_rate)


def _metric(name: str, kind: str) -> Metric:
    if name == "visqol":
        name = "visqol_speech" if kind == "speech" else "visqol_audio"
    if name not in METRICS:
        raise MetricError(f"no measure {name!r}; there are {', '.join(METRICS)}")
    metric = METRICS[name]
    if kind != "speech" and "any" not in metric.kinds:
        raise MetricError(f"{name} is for speech, not for {kind}")
    return metric
