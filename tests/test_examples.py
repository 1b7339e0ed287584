"""The examples run, on small tokens."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import codec
from codec.corpus.rows import Settings
from codec.corpus.run import Corpus, run
from tests.helpers.mean_backend import MeanBackend

EXAMPLES = Path(codec.__file__).parents[1] / "examples"


def main_of(name: str) -> Callable[[list[str]], Any]:
    main: Callable[[list[str]], Any] = runpy.run_path(str(EXAMPLES / name))["main"]
    return main


def tone(seconds: float) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * 24_000)) / 24_000)


def test_a_recording_is_the_file_that_compress_writes(tmp_path: Path) -> None:
    source, recorded = tmp_path / "a.wav", tmp_path / "a.nac"
    soundfile.write(source, tone(2.5), 24_000)
    main_of("record.py")([str(recorded), "--wav", str(source), "-n", "3"])
    audio, rate = soundfile.read(source, dtype="float32")
    assert recorded.read_bytes() == codec.load().compress(audio, rate, n_codebooks=3, effort="raw")


def test_ctrl_c_ends_a_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, recorded = tmp_path / "a.wav", tmp_path / "a.nac"
    soundfile.write(source, tone(1), 24_000)
    write, blocks = codec.Recorder.write, iter(range(10))

    def ten_blocks(recorder: codec.Recorder, samples: np.ndarray) -> None:
        if next(blocks, None) is None:
            raise KeyboardInterrupt
        write(recorder, samples)

    monkeypatch.setattr(codec.Recorder, "write", ten_blocks)
    main_of("record.py")([str(recorded), "--wav", str(source), "-n", "3"])
    assert "0.20 s" in capsys.readouterr().out
    assert codec.Tokens.load(recorded).n_samples == 4800
    recorded.unlink()
    with pytest.raises(SystemExit, match="no audio"):
        main_of("record.py")([str(recorded), "--wav", str(source), "-n", "3"])


def test_a_folder_becomes_batches(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "in").mkdir()
    for number in range(3):
        soundfile.write(tmp_path / "in" / f"{number}.wav", tone(2), 24_000)
    arguments = [str(tmp_path / "in"), str(tmp_path / "out"), "--length", "64"]
    frames = 3 * 2 * 25
    assert main_of("corpus_to_batches.py")([*arguments, "--batch-size", "2"]) >= frames * 4 // 128


def test_a_flow_takes_two_steps_and_draws(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from bench.random_weights import SMALL, write_weights
    from codec.model.latent_scale import SUFFIX, LatentScale

    weights = write_weights(tmp_path / "w.safetensors", SMALL)
    model = codec.load(weights)
    ones = np.ones(SMALL.latent_dim, np.float32)
    LatentScale(0 * ones, ones).save(weights.with_suffix(SUFFIX), model.model_id)
    (tmp_path / "in").mkdir()
    for number in range(3):
        soundfile.write(tmp_path / "in" / f"{number}.wav", tone(2), 24_000)
    settings = Settings(0, latents=True)
    run(Corpus(model, [str(tmp_path / "in")], tmp_path / "out", settings, "bin"))
    drawn = tmp_path / "drawn.wav"
    arguments = ["-o", str(drawn), "--model", str(weights), "--frames", "16", "--width", "16"]
    losses = main_of("latent_flow.py")([str(tmp_path / "out"), *arguments, "--steps", "2"])
    assert len(losses) == 2
    assert np.isfinite(losses).all()
    assert soundfile.info(drawn).frames == 16 * SMALL.hop_length


def test_a_language_model_learns_what_repeats(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    small = codec.load(backend=MeanBackend())
    (tmp_path / "in").mkdir()
    steps = np.tile(np.repeat([0.1, -0.3, 0.2, 0.5], small.config.hop_length), 40)
    for number in range(4):
        soundfile.write(tmp_path / "in" / f"{number}.wav", steps, small.config.sample_rate)
    corpus = Corpus(small, [str(tmp_path / "in")], tmp_path / "out", Settings(1), "bin")
    run(corpus)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # of cores that others work on, more make it slower
    main = main_of("train_lm.py")
    arguments = ["--codebooks", "1", "--length", "32", "--batch-size", "4", "--steps", "60"]
    arguments += ["--dim", "64", "--layers", "1", "--lr", "0.01"]
    raw = 10 * small.config.sample_rate / small.config.hop_length
    rate = main([str(tmp_path / "out"), *arguments])
    torch.set_num_threads(threads)
    assert rate < raw / 2


def test_a_recording_is_talked_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    speech, rate = soundfile.read(EXAMPLES.parent / "tests" / "clips" / "speech.flac")
    source, target = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(source, np.concatenate([speech, np.zeros(4 * rate)]), rate)
    main_of("converse.py")(["--wav", str(source), "-o", str(target), "-n", "4"])
    said = capsys.readouterr().out
    assert "turn ended" in said
    assert "reply ended" in said
    played = soundfile.read(target)[0]
    assert len(played) == len(speech) + 4 * rate
    # What was said comes back.
    assert np.abs(played[len(speech) :]).max() > 0.3 * np.abs(speech).max()
