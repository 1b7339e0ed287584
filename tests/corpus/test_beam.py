"""A corpus whose codes were searched with several paths: its own kind of run, checked as one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import codec
from bench.random_weights import SMALL, write_weights
from codec.audio import read_audio
from codec.corpus.rows import Settings
from codec.corpus.run import Corpus, run

pytest.importorskip("codec.engine._engine", reason="needs the native engine")


@pytest.fixture
def model(tmp_path: Path) -> codec.Codec:
    return codec.load(write_weights(tmp_path / "w.safetensors", SMALL))


def test_the_rows_are_what_the_model_encodes(model, wav, tmp_path):
    source = wav("in/a.wav", 30_000)
    out = tmp_path / "out"
    run(Corpus(model, [str(source)], out, Settings(2, beam=5), "bin"))
    ids = np.fromfile(next((out / "data").glob("*.bin")), "<u2")
    audio, rate = read_audio(source)
    codes = model.encode(audio, rate, n_codebooks=2, beam=5).codes[0]
    assert np.array_equal(ids.reshape(-1, 2).T, codes)
    assert not np.array_equal(codes, model.encode(audio, rate, n_codebooks=2).codes[0])


def test_a_run_keeps_to_its_beam(model, wav, tmp_path, cli_of_weights):
    wav("in/a.wav", 30_000)
    out, weights = tmp_path / "out", tmp_path / "w.safetensors"
    command = ("tokenize", tmp_path / "in", "-o", out, "--format", "bin", "--model", weights)
    assert cli_of_weights(*command, "--beam", "5")[0] == 0
    assert json.loads((out / "run.json").read_text())["decides"]["beam"] == 5
    code, _, err = cli_of_weights(*command)
    assert (code, "was begun differently: beam 5 -> None" in err) == (1, True)
    assert cli_of_weights("tokenize", "--verify", out, "--model", weights)[0] == 0
    assert cli_of_weights(*command[:-2], "--latents", "--beam", "2")[0] == 2


def test_a_run_without_one_is_as_it_always_was():
    assert "beam" not in Settings(3).decides()
    assert "beam" not in Settings(3, latents=True, beam=4).decides()
    assert Settings.held(Settings(3, beam=4).decides()) == Settings(3, beam=4)


def test_a_backend_without_a_beam_search_is_told_before_any_work(small, wav, tmp_path):
    source = wav("in/a.wav")
    with pytest.raises(codec.BackendError, match="no beam search"):
        Corpus(small, [str(source)], tmp_path / "out", Settings(2, beam=2), "bin")
    assert not (tmp_path / "out").exists()
