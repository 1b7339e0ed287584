"""The CUDA kernels' text, run on the CPU, against the C kernels: equal codes, equal bits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec import mel, rvq
from codec.kernels import available
from codec.mel import MelSpec
from tests.helpers.cuda_host import GXX, Host, build, check_codes, check_mel
from tests.helpers.kernel_cases import LENGTHS, SPECS, case, clips_of
from tests.helpers.processes import python_with_sanitizers

pytestmark = [
    pytest.mark.skipif(GXX is None, reason="needs g++"),
    pytest.mark.skipif("native" not in available(), reason="compares with the C kernels"),
]


@pytest.fixture(scope="module")
def host(cuda_stand_in: Path) -> Host:
    return Host(cuda_stand_in)


@settings(max_examples=12, deadline=None)
@given(
    n=st.integers(0, 140),
    q=st.integers(1, 3),
    k=st.sampled_from([1, 2, 127, 128, 129, 200, 256, 300]),
    d=st.integers(1, 200) | st.sampled_from([15, 16, 17, 32, 33]),
    seed=st.integers(0, 2**32 - 1),
)
def test_codes_are_those_of_the_c_kernels(
    host: Host, n: int, q: int, k: int, d: int, seed: int
) -> None:
    latents, codebooks = case(n, q, k, d, seed)
    codes = check_codes(host, latents, codebooks)
    decoded = rvq.decode(codes, codebooks, backend="native")
    np.testing.assert_array_equal(host.rvq_decode(codes, codebooks), decoded)


def test_codes_of_the_longest_vectors(host: Host) -> None:
    for d in (256, 257, 1024):  # the last for tiles of 64, the first without, the last of all
        check_codes(host, *case(n=18, q=2, k=130, d=d))


def test_near_ties_are_decided_alike(host: Host) -> None:
    """On a coarse grid many scores tie or differ in the last bit; order and rounding decide."""
    rng = np.random.default_rng(2)
    codebooks = (rng.integers(-3, 4, (3, 300, 5)) / np.float32(3)).astype(np.float32)
    latents = (rng.integers(-6, 7, (300, 5)) / np.float32(6)).astype(np.float32)
    check_codes(host, latents, codebooks)


@pytest.mark.parametrize("first", [0, 1, 3, 4, 31, 64, 68, 127, 128, 255])
def test_of_equal_codewords_the_first_wins(host: Host, first: int) -> None:
    """Whichever two threads, or panels, hold them."""
    codebooks = np.full((1, 300, 3), 9, np.float32)
    codebooks[:, first:] = 1
    codes = check_codes(host, np.ones((5, 3), np.float32), codebooks)
    np.testing.assert_array_equal(codes, np.full((1, 5), first))


def test_codes_of_extreme_values(host: Host) -> None:
    """Scores that overflow to inf and NaN, and those of subnormal numbers."""
    rng = np.random.default_rng(3)
    for scale in (3e38, 1e19, 1e-19, 1e-40):
        codebooks = (rng.uniform(-1, 1, (2, 150, 6)) * scale).astype(np.float32)
        latents = (rng.uniform(-1, 1, (70, 6)) * scale).astype(np.float32)
        check_codes(host, latents, codebooks)
        check_codes(host, latents * np.float32(0.01), codebooks)
    overflowing = np.array([[[3e38, 3e38], [3e38, -3e38]]], np.float32)
    check_codes(host, np.array([[2e38, 2e38]], np.float32), overflowing)


def test_an_unknown_code_makes_its_vector_nan(host: Host) -> None:
    codebooks = case(1, 2, 10, 4)[1]
    out = host.rvq_decode(np.array([[1, 2, 3, 4], [9, 10, -1, 0]]), codebooks)
    assert np.isnan(out).all(axis=1).tolist() == [False, True, True, False]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_mel_is_that_of_the_c_kernels(host: Host, spec: MelSpec) -> None:
    for n in (1, spec.pad, spec.pad + 1, spec.pad + 2, 9 * spec.hop_length + 7):
        check_mel(host, clips_of(n), spec)
    check_mel(host, (clips_of(3000) * 20_000).astype(np.int16), spec)


@pytest.mark.parametrize("n_fft", LENGTHS)
def test_mel_of_every_kind_of_length(host: Host, n_fft: int) -> None:
    spec = dataclasses.replace(
        mel.WHISPER_80, n_fft=n_fft, hop_length=max(n_fft // 3, 1), n_mels=min(n_fft // 2, 40)
    )
    check_mel(host, clips_of(4 * n_fft + 1), spec)


def test_runs_of_frames_share_a_maximum(host: Host) -> None:
    """More frames than a block has threads: every thread has a run of some."""
    for maximum in ("running", "clip"):
        spec = MelSpec(n_fft=8, hop_length=4, n_mels=3, maximum=maximum)
        clips = clips_of(1300)[:1]
        np.testing.assert_array_equal(host.log_mel(clips, spec), mel.log_mel(clips, spec))


SANITIZED = """
import sys
from pathlib import Path
from codec.mel import MelSpec
from tests.helpers.cuda_host import Host, check_codes, check_mel
from tests.helpers.kernel_cases import SPECS, case, clips_of

host = Host(Path(sys.argv[1]))
for n, q, k, d in [(1, 1, 1, 1), (65, 2, 129, 17), (17, 1, 130, 300)]:
    latents, codebooks = case(n, q, k, d)
    host.rvq_decode(check_codes(host, latents, codebooks), codebooks)
for name in ("whisper", "magnitudes", "running"):
    check_mel(host, clips_of(1000), SPECS[name])
for n_fft in (3, 6, 20, 40, 75, 96, 256):
    spec = MelSpec(n_fft=n_fft, hop_length=n_fft, n_mels=5)
    check_mel(host, clips_of(4 * n_fft), spec)
"""


@pytest.mark.slow
def test_sanitizers(tmp_path: Path) -> None:
    build(tmp_path / "host.so", "-O0", "-g", "-fsanitize=address,undefined")
    python_with_sanitizers(SANITIZED, tmp_path / "host.so")
