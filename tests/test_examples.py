"""The examples run, on small tokens."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch")

import torch

import codec
from codec.corpus.rows import Settings
from codec.corpus.run import Corpus, run
from tests.conftest import MeanBackend

EXAMPLES = Path(codec.__file__).parents[1] / "examples"


def test_a_language_model_learns_what_repeats(tmp_path: Path) -> None:
    small = codec.load(backend=MeanBackend())
    (tmp_path / "in").mkdir()
    tone = np.tile(np.repeat([0.1, -0.3, 0.2, 0.5], small.config.hop_length), 40)
    for number in range(4):
        soundfile.write(tmp_path / "in" / f"{number}.wav", tone, small.config.sample_rate)
    corpus = Corpus(small, [str(tmp_path / "in")], tmp_path / "out", Settings(1), "bin")
    run(corpus)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # of cores that others work on, more make it slower
    main = runpy.run_path(str(EXAMPLES / "train_lm.py"))["main"]
    arguments = ["--codebooks", "1", "--length", "32", "--batch-size", "4", "--steps", "60"]
    arguments += ["--dim", "64", "--layers", "1", "--lr", "0.01"]
    raw = 10 * small.config.sample_rate / small.config.hop_length
    rate = main([str(tmp_path / "out"), *arguments])
    torch.set_num_threads(threads)
    assert rate < raw / 2
