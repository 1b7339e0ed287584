"""Speed of the native engine: pytest bench/test_speed.py, one thread, grouped by direction.

bench/speed.py compares it with other codecs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.random_weights import noise, write_weights
from codec.engine import _engine
from codec.engine.native import NativeBackend, isas
from codec.engine.stream import StreamDecoder, StreamEncoder
from codec.model.config import ModelConfig

SECONDS = 8
FAST = [isa for isa in isas() if isa != "scalar"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the shape that ships: they cost as much as trained ones."""
    return write_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", ModelConfig())


def real_time(benchmark: Any, seconds: float) -> None:
    benchmark.extra_info["times realtime"] = round(seconds / benchmark.stats["min"], 1)


@pytest.mark.parametrize("isa", FAST)
@pytest.mark.parametrize("n_codebooks", [8, 24])
@pytest.mark.benchmark(group=f"encode, {SECONDS} s of audio")
def test_encode(benchmark: Any, weights: Path, n_codebooks: int, isa: str) -> None:
    engine, audio = NativeBackend(weights, isa), noise(SECONDS * 24_000)
    codes = benchmark(engine.encode, audio, n_codebooks)
    assert codes.shape == (n_codebooks, SECONDS * 25)
    real_time(benchmark, SECONDS)


@pytest.mark.parametrize("isa", FAST)
@pytest.mark.benchmark(group=f"decode, {SECONDS} s of audio")
def test_decode(benchmark: Any, weights: Path, isa: str) -> None:
    engine = NativeBackend(weights, isa)
    codes = np.random.default_rng(0).integers(0, 1024, (24, SECONDS * 25)).astype(np.uint16)
    assert len(benchmark(engine.decode, codes)) == SECONDS * 24_000
    real_time(benchmark, SECONDS)


@pytest.mark.parametrize("frames", [1, 10])
@pytest.mark.benchmark(group="streams, a frame or ten a push")
def test_streams(benchmark: Any, weights: Path, frames: int) -> None:
    """Both directions; one frame a push reads all weights for 40 ms of audio."""
    engine, audio = NativeBackend(weights), noise(960 * frames)
    encoder, decoder = StreamEncoder(engine), StreamDecoder(engine)
    benchmark(lambda: decoder.push(encoder.push(audio)))
    real_time(benchmark, frames / 25)


@pytest.mark.parametrize("isa", FAST)
@pytest.mark.parametrize("shape", [(144, 384, 1152), (144, 1152, 384), (1, 384, 1152)], ids=str)
@pytest.mark.benchmark(group="matrix products, rows x depth x columns")
def test_dense(benchmark: Any, shape: tuple[int, int, int], isa: str) -> None:
    rows, depth, columns = shape
    layer = _engine.Dense(np.ones((columns, depth), np.float32), np.zeros(columns, np.float32))
    out = benchmark(layer, np.ones((rows, depth), np.float32), isa)
    assert (out == depth).all()
    flop = 2 * rows * depth * columns
    benchmark.extra_info["GFLOP/s"] = round(flop / benchmark.stats["min"] / 1e9, 1)
