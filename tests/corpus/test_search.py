"""A corpus whose codes were searched for longer: its own kind of run, checked as one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import codec
from bench.random_weights import SMALL, noise, write_weights
from codec.audio import read_audio
from codec.corpus.rows import Settings
from codec.corpus.run import Corpus, run

pytest.importorskip("codec.engine._engine", reason="needs the native engine")

SEARCHES = [{"beam": 5}, {"refine": 20}]


@pytest.fixture
def model(tmp_path: Path) -> codec.Codec:
    return codec.load(write_weights(tmp_path / "w.safetensors", SMALL))


@pytest.mark.parametrize("search", [*SEARCHES, SEARCHES[0] | SEARCHES[1]])
def test_the_rows_are_what_the_model_encodes(model, wav, tmp_path, search):
    source = wav("in/a.wav")
    soundfile.write(source, noise(30_000), 24_000)
    out = tmp_path / "out"
    run(Corpus(model, [str(source)], out, Settings(2, **search), "bin"))
    ids = np.fromfile(next((out / "data").glob("*.bin")), "<u2")
    audio, rate = read_audio(source)
    codes = model.encode(audio, rate, n_codebooks=2, **search).codes[0]
    assert np.array_equal(ids.reshape(-1, 2).T, codes)
    assert not np.array_equal(codes, model.encode(audio, rate, n_codebooks=2).codes[0])


@pytest.mark.parametrize("search", SEARCHES)
def test_a_run_keeps_to_its_search(model, wav, tmp_path, cli_of_weights, search):
    wav("in/a.wav", 30_000)
    out, weights = tmp_path / "out", tmp_path / "w.safetensors"
    command = ("tokenize", tmp_path / "in", "-o", out, "--format", "bin", "--model", weights)
    ((name, value),) = search.items()
    assert cli_of_weights(*command, f"--{name}", value)[0] == 0
    assert json.loads((out / "run.json").read_text())["decides"][name] == value
    code, _, err = cli_of_weights(*command)
    assert (code, f"was begun differently: {name} {value} -> None" in err) == (1, True)
    assert cli_of_weights("tokenize", "--verify", out, "--model", weights)[0] == 0
    assert cli_of_weights(*command[:-2], "--latents", f"--{name}", value)[0] == 2


def test_a_run_without_one_is_as_it_always_was():
    assert not {"beam", "refine"} & Settings(3).decides().keys()
    assert not {"beam", "refine"} & Settings(3, latents=True, beam=4, refine=5).decides().keys()
    for settings in (Settings(3, beam=4), Settings(3, refine=4)):
        assert Settings.held(settings.decides()) == settings


def test_a_backend_that_cannot_search_so_is_told_before_any_work(small, wav, tmp_path):
    source = wav("in/a.wav")
    for settings, message in (
        (Settings(2, beam=2), "no beam search"),
        (Settings(2, refine=2), "cannot refine"),
    ):
        with pytest.raises(codec.BackendError, match=message):
            Corpus(small, [str(source)], tmp_path / "out", settings, "bin")
    assert not (tmp_path / "out").exists()
