"""Hours of audio through codec tokenize: the corpus that it makes, and a rehearsal in seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.gpu import hours
from bench.gpu.run import ROOT
from bench.random_weights import SMALL, noise, write_weights


@pytest.mark.parametrize("samples", [5, 70, 99, 1000])
def test_clips_go_around_and_are_never_alike(samples: int) -> None:
    source = np.arange(samples, dtype=np.float32)
    length = 40
    found = list(hours.clips(source, max(2, 2 * samples // length), length))
    assert all(len(clip) == length for clip in found)
    assert all((np.diff(clip) % samples == 1).all() for clip in found)  # each runs on, and around
    assert len({clip[0] for clip in found}) == len(found)


def test_the_corpus_is_its_clips(tmp_path: Path) -> None:
    source = noise(5000)
    hours.make(tmp_path / "corpus", source, 3, 2000, 16_000)
    files = sorted((tmp_path / "corpus").rglob("*.flac"))
    assert len(files) == 3
    for path, clip in zip(files, hours.clips(source, 3, 2000), strict=True):
        audio, rate = soundfile.read(path, dtype="float32")
        assert rate == 16_000
        np.testing.assert_allclose(audio, np.clip(clip, -1, 1), rtol=0, atol=2**-15)
    joined = hours.recording(tmp_path / "corpus", 16_000, 0.3)
    assert len(joined) == 4800


@pytest.mark.parametrize(
    ("cores", "gpu", "said"),
    [(0.9, 0.9, "cores"), (0.5, 0.9, "the GPU"), (0.5, 0.5, "neither"), (0.5, None, "neither")],
)
def test_what_limited_it(cores: float, gpu: float | None, said: str) -> None:
    assert said in hours.limit(cores, gpu)


@pytest.mark.slow
def test_rehearsal_on_the_stand_in(cuda_stand_in: Path, tmp_path: Path) -> None:
    pytest.importorskip("codec.engine._engine")
    weights = write_weights(tmp_path / "small.safetensors", SMALL)
    given = ["--work", str(tmp_path / "work"), "--hours", "0.002", "--clip", "1"]
    given += ["--model", str(weights), "--rate", "44100", "--device", "cuda"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.gpu.hours", str(ROOT / "tests/clips"), *given],
        cwd=ROOT,
        env=os.environ | {"CODEC_CUDA_LIBRARY": str(cuda_stand_in)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "shards of 3 files: the same bytes as the CPU's" in done.stdout
    assert "7 files" in done.stdout
    assert "x real time" in done.stdout.splitlines()[-1]
    assert not (tmp_path / "work").exists()
