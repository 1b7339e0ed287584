"""Speed of the mel and RVQ kernels: pytest bench/test_ops.py, one thread, grouped by operation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from codec import rvq
from codec.kernels import available, load
from codec.mel import WHISPER_80, WHISPER_128, MelSpec, log_mel

BACKENDS = available()
SECONDS = 30


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    if "torch" in BACKENDS:
        load("torch").set_num_threads(1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spec", [WHISPER_80, WHISPER_128], ids=["80", "128"])
@pytest.mark.benchmark(group="log_mel, 30 s of audio")
def test_log_mel(benchmark: Any, spec: MelSpec, backend: str) -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, SECONDS * 16_000).astype(np.float32)
    mel = benchmark(log_mel, audio, spec, backend=backend)
    assert mel.shape == (spec.n_mels, SECONDS * 100)
    benchmark.extra_info["times realtime"] = round(SECONDS / benchmark.stats["median"])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n", [1, 50, 1500])
@pytest.mark.parametrize("dim", [8, 64])
@pytest.mark.benchmark(group="rvq.encode, 12 codebooks of 1024")
def test_rvq_encode(benchmark: Any, dim: int, n: int, backend: str) -> None:
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((n, dim), np.float32)
    codebooks = rng.standard_normal((12, 1024, dim), np.float32)
    codes = benchmark(rvq.encode, latents, rvq.Codebooks(codebooks), backend=backend)
    assert codes.shape == (12, n)
    flop = 2 * codebooks.size * n
    benchmark.extra_info["GFLOP/s"] = round(flop / benchmark.stats["median"] / 1e9, 2)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.benchmark(group="rvq.decode, 12 codebooks of 1024, 1500 x 64")
def test_rvq_decode(benchmark: Any, backend: str) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 1024, (12, 1500)).astype(np.uint16)
    codebooks = rng.standard_normal((12, 1024, 64), np.float32)
    assert benchmark(rvq.decode, codes, codebooks, backend=backend).shape == (1500, 64)
