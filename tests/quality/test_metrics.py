"""The measures against closed forms, other implementations and their own known values."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.errors import MetricError, MissingPackageError
from codec.quality import METRICS, measure, perceptual, spectral, words
from codec.quality.alignment import find_delay
from codec.quality.pair import trim_silence
from tests.helpers.processes import python
from tests.helpers.signals import noise, syllables

RATE = 24_000


def torchaudio_or_skip() -> tuple[ModuleType, ModuleType]:
    return pytest.importorskip("torch"), pytest.importorskip("torchaudio")


@pytest.mark.parametrize(("window", "n_mels"), spectral.MEL_SCALES)
def test_mel_filters_are_slaneys(window: int, n_mels: int) -> None:
    _, torchaudio = torchaudio_or_skip()
    expected = torchaudio.functional.melscale_fbanks(
        window // 2 + 1, 0.0, RATE / 2, n_mels, RATE, norm="slaney", mel_scale="slaney"
    )
    filters = spectral.mel_filters(window, n_mels)
    assert np.abs(filters - expected.numpy()).max() < 1e-6
    assert filters.any(axis=0).all()


@pytest.mark.parametrize("samples", [1, 100, 1025, 24_001])
def test_log_mel_is_that_of_torch(samples: int) -> None:
    torch, _ = torchaudio_or_skip()
    audio, window = noise(samples), 512
    padded = torch.from_numpy(np.pad(audio, (0, max(0, window // 2 + 1 - samples))))
    spectrum = torch.stft(
        padded, window, window // 4, window=torch.hann_window(window), return_complex=True
    )
    mel = spectrum.abs().T @ torch.from_numpy(spectral.mel_filters(window, 40))
    expected = mel.clamp(min=spectral.MEL_FLOOR).log().numpy()
    assert spectral.log_mel(audio, window, 40) == pytest.approx(expected, abs=1e-3)


def test_mel_distance_of_a_gain_is_its_logarithm() -> None:
    audio = noise(RATE)
    assert METRICS["mel"](audio, audio, RATE) == 0
    assert METRICS["mel"](audio, -audio, RATE) == 0
    assert METRICS["mel"](audio, audio / 2, RATE) == pytest.approx(math.log(2), rel=1e-5)
    # Both under the floor: equal.
    assert METRICS["mel"](audio * 1e-9, audio * 0, RATE) == 0


@given(ratio=st.floats(-60, 60), gain=st.floats(0.01, 100), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_si_sdr_is_the_ratio_of_orthogonal_parts(ratio: float, gain: float, seed: int) -> None:
    target, error = (noise(4000, seed=2 * seed + k).astype(np.float64) for k in (0, 1))
    target -= target.mean()
    error -= error.mean()
    error -= target * (error @ target) / (target @ target)
    error *= np.linalg.norm(target) / np.linalg.norm(error) * 10 ** (-ratio / 20)
    assert METRICS["si_sdr"](target, gain * (target + error), RATE) == pytest.approx(
        ratio, abs=1e-6
    )


def test_si_sdr_is_held_to_its_limits() -> None:
    audio = noise(1000)
    assert METRICS["si_sdr"](audio, audio, RATE) == spectral.SI_SDR_LIMIT_DB
    assert METRICS["si_sdr"](audio, np.zeros_like(audio), RATE) == -spectral.SI_SDR_LIMIT_DB


@pytest.mark.parametrize(
    "name", ["pesq_wb", "pesq_nb", "stoi", "estoi", "lsd", "mrstft", "energy_corr"]
)
def test_equal_signals_have_the_best_value(name: str) -> None:
    metric = METRICS[name]
    for needed in (metric.needs or "").split():
        pytest.importorskip(needed)
    speech = syllables()
    spoiled = speech + noise(len(speech), seed=1, scale=0.03)
    same, worse = metric(speech, speech, RATE), metric(speech, spoiled, RATE)
    assert same == pytest.approx(metric.best, abs=1e-3)
    assert worse < same if metric.better == "higher" else worse > same


def test_speech_measures_are_those_of_their_packages() -> None:
    pesq, pystoi = pytest.importorskip("pesq"), pytest.importorskip("pystoi")
    speech = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    spoiled = speech + np.random.default_rng(1).normal(0, 0.03, 48_000).astype(np.float32)
    # At 16 kHz, and with no silence at the ends, the copies are the signals themselves.
    assert METRICS["pesq_wb"](speech, spoiled, 16_000) == pesq.pesq(16_000, speech, spoiled, "wb")
    assert METRICS["stoi"](speech, spoiled, 16_000) == pystoi.stoi(speech, spoiled, 16_000)
    assert METRICS["estoi"](speech, spoiled, 16_000) == pystoi.stoi(
        speech, spoiled, 16_000, extended=True
    )


def test_visqol_takes_the_mode_of_the_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    class Api:
        def measure_from_arrays(self, reference: Any, decoded: Any, rate: int) -> Any:
            assert reference.dtype == decoded.dtype == np.float64
            self.seen = (len(reference), rate)
            return type("Result", (), {"moslqo": 4.2})

    apis = {"speech": Api(), "audio": Api()}
    monkeypatch.setattr(perceptual, "_visqol_api", apis.__getitem__)
    audio = noise(RATE)
    for kind, mode, rate in (("speech", "speech", 16_000), ("music", "audio", 48_000)):
        found = measure(audio, audio, RATE, kind=kind, names=["visqol"])
        assert found.values == {"visqol": 4.2}
        assert apis[mode].seen == (rate, rate)
    with pytest.raises(MetricError, match="silent"):
        METRICS["visqol_audio"](audio, audio * 0, RATE)


@given(delay=st.integers(-2400, 2400), seed=st.integers(0, 9), sign=st.sampled_from([0.3, 1.0]))
@settings(max_examples=20, deadline=None)
def test_a_delay_is_found_and_taken_out(delay: int, seed: int, sign: float) -> None:
    audio = noise(RATE, seed)
    late = np.roll(audio, delay) * np.float32(sign)
    assert find_delay(audio, late, RATE) == delay
    found = measure(audio, late, RATE, kind="music", names=["si_sdr"])
    assert found.delay == delay / RATE
    assert found.values["si_sdr"] > 90


def test_a_delay_is_found_where_phases_are_not_kept() -> None:
    voiced = syllables()
    envelope = np.convolve(np.abs(voiced), np.full(240, 1 / 240), "same")
    other = (np.roll(envelope, 1200) * noise(len(voiced), seed=3, scale=1)).astype(np.float32)
    assert find_delay(voiced, other, RATE) == pytest.approx(1200, abs=0.005 * RATE)


def test_word_edits() -> None:
    heard = words.words("the cat SAT, on a mat")
    assert words.edits(heard, heard) == 0
    assert words.edits(heard, words.words("the cat on the mat")) == 2
    assert words.edits(heard, []) == 6


def test_names_and_kinds_are_checked() -> None:
    audio = noise(RATE)
    with pytest.raises(MetricError, match="no measure 'loudness'"):
        measure(audio, audio, RATE, kind="music", names=["loudness"])
    with pytest.raises(MetricError, match="for speech"):
        measure(audio, audio, RATE, kind="music", names=["stoi"])
    with pytest.raises(MetricError, match="transcript"):
        measure(audio, audio, RATE, kind="speech", names=["wer"])


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pystoi", None)
    audio = noise(RATE)
    with pytest.raises(MissingPackageError, match=r"pystoi .*codec\[quality\]"):
        measure(audio, audio, RATE, kind="speech", names=["stoi"])


def test_nothing_heavy_loads_before_it_is_used() -> None:
    code = "import sys, codec.quality; print([n for n in ('torch', 'librosa') if n in sys.modules])"
    assert python(code).strip() == "[]"


def test_silence_is_trimmed_alike() -> None:
    size = 320  # 20 ms at 16 kHz
    reference = np.concatenate([np.zeros(3 * size), noise(5 * size), np.full(4 * size, 1e-5)])
    reference[5 * size : 6 * size] = 0  # a pause inside stays
    decoded = np.arange(len(reference), dtype=np.float32)
    kept, cut = trim_silence(reference.astype(np.float32), decoded, 16_000)
    assert np.array_equal(cut, decoded[3 * size : 8 * size])
    assert np.array_equal(kept, reference[3 * size : 8 * size].astype(np.float32))


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (lambda x: np.where(x == x[5], np.nan, x), "music", "not finite"),
        (lambda x: x[:-1], "music", "equal length"),
        (lambda x: x * 0, "speech", "silent"),
    ],
)
def test_what_cannot_be_measured_names_the_clip(
    spoil: Callable[[np.ndarray], np.ndarray], kind: str, message: str
) -> None:
    audio = noise(RATE)
    names = ["stoi"] if kind == "speech" else ["mel"]
    spoiled = spoil(audio).astype(np.float32)
    with pytest.raises(MetricError, match=message) as error:
        measure(audio, spoiled, RATE, kind=kind, names=names, clip="clip7")
    assert str(error.value).startswith("clip7: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("visqol_audio", 0.9),
        ("visqol_speech", 0.3),
        ("stoi", 0.2),
        ("estoi", 0.2),
        ("mrstft", 0.04),
    ],
)
def test_what_is_too_short_has_no_value(name: str, seconds: float) -> None:
    if not METRICS[name].available:
        pytest.skip(f"needs {METRICS[name].needs}")
    audio = noise(RATE)
    for samples in (1, 2, 100, round(seconds * RATE)):
        with pytest.raises(MetricError, match="too short"):
            METRICS[name](audio[:samples], audio[:samples], RATE)


@pytest.mark.parametrize("kind", ["speech", "music"])
def test_a_silent_reference_is_an_error(kind: str) -> None:
    silence, audio = np.zeros(RATE, np.float32), noise(RATE)
    name = "stoi" if kind == "speech" else "si_sdr"
    with pytest.raises(MetricError, match="silent"):
        measure(silence, audio, RATE, kind=kind, names=[name])
