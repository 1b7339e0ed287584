"""The bench's scripts, whole."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import codec
from codec.errors import DataError
from tests.helpers.signals import noise, syllables

for name in ("pesq", "pystoi", "matplotlib"):
    pytest.importorskip(name)

clips, quality, spectrograms = (
    importlib.import_module(f"bench.{name}") for name in ("clips", "quality", "spectrograms")
)

RATE = clips.SAMPLE_RATE


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
        quality.Measured("a", "speech", 1.0, {"pesq_wb": 2.0, "mel": 3.0}),
        quality.Measured("b", "speech", 1.0, {"pesq_wb": 4.0, "mel": 5.0}),
        quality.Measured("b", "speech", 0.5, {"pesq_wb": 1.0, "mel": 7.0}),
    ]
    assert quality.means(rows) == {
        ("speech", 0.5): {"pesq_wb": 1.0, "mel": 7.0},
        ("speech", 1.0): {"pesq_wb": 3.0, "mel": 4.0},
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
    assert by_rate[high]["pesq_wb"] > by_rate[low]["pesq_wb"]
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
