"""The bench's measures against closed forms and other implementations, and its scripts whole."""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from codec.errors import DataError

for name in ("pesq", "pystoi", "matplotlib"):
    pytest.importorskip(name)

# The scripts import each other as neighbours, as they do when run from the command line.
sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

clips, metrics, quality, spectrograms = map(
    importlib.import_module, ("clips", "metrics", "quality", "spectrograms")
)

RATE = metrics.SAMPLE_RATE


def noise(samples: int, seed: int = 0, scale: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, samples).astype(np.float32)


def syllables(seconds: float = 3.0) -> np.ndarray:
    """Bursts of harmonics four times a second: enough like speech for PESQ to find utterances."""
    time = np.arange(round(seconds * RATE)) / RATE
    voice = sum(np.sin(2 * np.pi * 130 * k * time) / k for k in range(1, 40))
    envelope = np.clip(np.sin(2 * np.pi * 2 * time), 0, None)
    return (0.1 * voice * envelope + noise(len(time), scale=1e-4)).astype(np.float32)


def torchaudio_or_skip() -> tuple[ModuleType, ModuleType]:
    return pytest.importorskip("torch"), pytest.importorskip("torchaudio")


@pytest.mark.parametrize(("window", "n_mels"), metrics.MEL_SCALES)
def test_mel_filters_are_slaneys(window: int, n_mels: int) -> None:
    _, torchaudio = torchaudio_or_skip()
    expected = torchaudio.functional.melscale_fbanks(
        window // 2 + 1, 0.0, RATE / 2, n_mels, RATE, norm="slaney", mel_scale="slaney"
    )
    filters = metrics.mel_filters(window, n_mels)
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
    mel = spectrum.abs().T @ torch.from_numpy(metrics.mel_filters(window, 40))
    expected = mel.clamp(min=metrics.MEL_FLOOR).log().numpy()
    assert metrics.log_mel(audio, window, 40) == pytest.approx(expected, abs=1e-3)


def test_mel_distance_of_a_gain_is_its_logarithm() -> None:
    audio = noise(RATE)
    assert metrics.mel_distance(audio, audio) == 0
    assert metrics.mel_distance(audio, -audio) == 0
    assert metrics.mel_distance(audio, audio / 2) == pytest.approx(math.log(2), rel=1e-5)
    # Both under the floor: equal.
    assert metrics.mel_distance(audio * 1e-9, audio * 0) == 0


@given(ratio=st.floats(-60, 60), gain=st.floats(0.01, 100), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_si_sdr_is_the_ratio_of_orthogonal_parts(ratio: float, gain: float, seed: int) -> None:
    target, error = (noise(4000, seed=2 * seed + k).astype(np.float64) for k in (0, 1))
    target -= target.mean()
    error -= error.mean()
    error -= target * (error @ target) / (target @ target)
    error *= np.linalg.norm(target) / np.linalg.norm(error) * 10 ** (-ratio / 20)
    assert metrics.si_sdr(target, gain * (target + error)) == pytest.approx(ratio, abs=1e-6)


def test_si_sdr_is_held_to_its_limits() -> None:
    audio = noise(1000)
    assert metrics.si_sdr(audio, audio) == metrics.SI_SDR_LIMIT_DB
    assert metrics.si_sdr(audio, np.zeros_like(audio)) == -metrics.SI_SDR_LIMIT_DB


def test_speech_measures_know_equal_from_spoiled() -> None:
    speech = syllables()
    spoiled = speech + noise(len(speech), seed=1, scale=0.03)
    same = metrics.measure(speech, speech, "speech")
    worse = metrics.measure(speech, spoiled, "speech")
    assert same["pesq"] == pytest.approx(4.644, abs=1e-3)  # the top of P.862.2's scale
    assert same["stoi"] == pytest.approx(1, abs=1e-6)
    assert worse["pesq"] < same["pesq"] - 1
    assert worse["stoi"] < same["stoi"] - 0.02
    assert worse["mel"] > 0.5
    assert list(metrics.measure(speech, speech, "music")) == ["mel", "si_sdr"]


def test_visqol_takes_the_mode_of_the_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    class Api:
        def measure_from_arrays(self, reference: Any, decoded: Any, rate: int) -> Any:
            assert reference.dtype == decoded.dtype == np.float64
            self.seen = (len(reference), rate)
            return type("Result", (), {"moslqo": 4.2})

    apis = {"speech": Api(), "audio": Api()}
    monkeypatch.setattr(metrics, "_visqol_api", apis.__getitem__)
    audio = noise(RATE)
    for kind, mode, rate in (("speech", "speech", 16_000), ("music", "audio", 48_000)):
        assert metrics.measure(audio, audio, kind, visqol=True)["visqol"] == 4.2
        assert apis[mode].seen == (rate, rate)
    with pytest.raises(metrics.MetricError, match="silent"):
        metrics.visqol_audio(audio, audio * 0)


def test_silence_is_trimmed_alike() -> None:
    size = 320  # 20 ms at 16 kHz
    reference = np.concatenate([np.zeros(3 * size), noise(5 * size), np.full(4 * size, 1e-5)])
    reference[5 * size : 6 * size] = 0  # a pause inside stays
    decoded = np.arange(len(reference), dtype=np.float32)
    kept, cut = metrics.trim_silence(reference.astype(np.float32), decoded, 16_000)
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
    with pytest.raises(metrics.MetricError, match=message) as error:
        metrics.measure(audio, spoil(audio).astype(np.float32), kind, clip="clip7")
    assert str(error.value).startswith("clip7: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["speech", "music"])
def test_a_silent_reference_is_an_error(kind: str) -> None:
    with pytest.raises(metrics.MetricError, match="silent"):
        metrics.measure(np.zeros(RATE, np.float32), noise(RATE), kind)


def test_codebook_use() -> None:
    even = np.tile(np.arange(16), 10)
    codes = np.stack([even, even * 0 + 3, even % 4]).astype(np.uint16)
    use = quality.codebook_use(codes, 16)
    assert [row.level for row in use] == [1, 2, 3]
    assert [row.used for row in use] == [1, 1 / 16, 4 / 16]
    assert [row.perplexity for row in use] == pytest.approx([16, 1, 4])


def test_means_keep_kinds_and_bitrates_apart() -> None:
    rows = [
        quality.Measured("m", "music", 1.0, {"mel": 1.0}),
        quality.Measured("a", "speech", 1.0, {"pesq": 2.0, "mel": 3.0}),
        quality.Measured("b", "speech", 1.0, {"pesq": 4.0, "mel": 5.0}),
        quality.Measured("b", "speech", 0.5, {"pesq": 1.0, "mel": 7.0}),
    ]
    assert quality.means(rows) == {
        ("speech", 0.5): {"pesq": 1.0, "mel": 7.0},
        ("speech", 1.0): {"pesq": 3.0, "mel": 4.0},
        ("music", 1.0): {"mel": 1.0},
    }
    assert quality.quality_table(rows).splitlines() == [
        "| kind | clips | kbit/s | PESQ-WB | mel distance |",
        "|---|--:|--:|--:|--:|",
        "| speech | 1 | 0.5 | 1.00 | 7.000 |",
        "| speech | 2 | 1 | 3.00 | 4.000 |",
        "| music | 1 | 1 |  | 1.000 |",
    ]


@pytest.fixture
def eval_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "eval"
    folder.mkdir()
    soundfile.write(folder / "speech_a.wav", syllables(), RATE)
    soundfile.write(folder / "music_b.flac", np.stack([noise(48_000)] * 2, axis=1), 48_000)
    soundfile.write(folder / "other.wav", noise(9_000), RATE)
    (folder / "README").write_text("not a clip")
    return folder


def test_clips_are_sorted_mixed_and_resampled(eval_folder: Path) -> None:
    found = clips.read_clips(eval_folder)
    assert [(clip.name, clip.kind, len(clip.audio)) for clip in found] == [
        ("speech_a", "speech", 3 * RATE),
        ("music_b", "music", RATE),
        ("other", "audio", 9_000),
    ]
    (eval_folder / "general_c.wav").write_bytes(b"?")
    with pytest.raises(DataError, match=r"general_c\.wav"):
        clips.read_clips(eval_folder)
    with pytest.raises(DataError, match="not a folder"):
        clips.read_clips(eval_folder / "nowhere")


class Perfect:
    """Stands in for a codec whose bitrate decides how much noise comes with the audio."""

    def __init__(self, small: codec.Codec) -> None:
        self._small = small
        self._audio: dict[bytes, np.ndarray] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._small, name)

    def encode(self, audio: np.ndarray, rate: int, **options: Any) -> codec.Tokens:
        tokens = self._small.encode(audio, rate, **options)
        self._audio[tokens.codes[0, 0].tobytes()] = audio
        return tokens

    def decode(self, tokens: codec.Tokens) -> np.ndarray:
        audio = self._audio[tokens.codes[0, 0].tobytes()]
        return (audio + noise(len(audio), 5, scale=0.02 / tokens.n_codebooks))[None]


@pytest.fixture
def loaded(small: codec.Codec, monkeypatch: pytest.MonkeyPatch) -> Perfect:
    model = Perfect(small)
    monkeypatch.setattr(codec, "load", lambda name: model)
    return model


def test_quality_script(
    eval_folder: Path, tmp_path: Path, loaded: Perfect, capsys: pytest.CaptureFixture[str]
) -> None:
    low, high = (n * loaded.config.bitrate_per_codebook / 1000 for n in (1, 6))
    report_path = tmp_path / "report.json"
    quality.main([str(eval_folder), "--bitrates", f"{high},{low}", "--json", str(report_path)])
    printed = capsys.readouterr().out
    assert printed.startswith(f"Model {loaded.model_id.hex()}; 3 clips; ")
    assert f"| speech | 1 | {low:g} |" in printed
    assert printed.count("%") == loaded.config.n_codebooks
    report = json.loads(report_path.read_text())
    assert len(report["clips"]) == 3 * 2
    by_rate = {row["kbps"]: row for row in report["means"] if row["kind"] == "speech"}
    assert by_rate[high]["pesq"] > by_rate[low]["pesq"]
    assert by_rate[high]["mel"] < by_rate[low]["mel"]
    # The noise is down by a factor of 6.
    assert by_rate[high]["si_sdr"] - by_rate[low]["si_sdr"] == pytest.approx(
        20 * math.log10(6), abs=0.1
    )


def test_quality_script_ends_with_one_line(
    eval_folder: Path, loaded: Perfect, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = f"{loaded.config.bitrate_per_codebook / 1000:g}"
    for arguments, message in (
        ([str(eval_folder / "nowhere")], "not a folder"),
        ([str(eval_folder), "--bitrates", "0.001"], "kbit/s"),
    ):
        with pytest.raises(SystemExit, match=f"^error: .*{message}"):
            quality.main(arguments)
    monkeypatch.setattr(loaded, "decode", lambda tokens: np.full((1, tokens.n_samples), np.nan))
    with pytest.raises(SystemExit, match=f"^error: speech_a at {rate} kbit/s: .*not finite$"):
        quality.main([str(eval_folder), "--bitrates", rate])


def test_spectrogram_script(eval_folder: Path, tmp_path: Path, loaded: Perfect) -> None:
    kbps = str(loaded.config.bitrate_per_codebook / 1000)
    out = tmp_path / "png"
    spectrograms.main([str(eval_folder), "-o", str(out), "--bitrate", kbps])
    assert sorted(path.name for path in out.iterdir()) == ["music_b.png", "other.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in out.iterdir())


def test_a_tone_is_one_line_at_its_place() -> None:
    tone = np.sin(2 * np.pi * 3000 * np.arange(RATE) / RATE).astype(np.float32)
    power = spectrograms.power_spectrogram(tone)
    assert power.shape == (spectrograms.WINDOW // 2 + 1, 1 + RATE // spectrograms.HOP)
    assert set(power[:, 4:-4].argmax(axis=0)) == {3000 * spectrograms.WINDOW // RATE}
