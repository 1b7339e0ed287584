"""Every implementation of the RVQ search over the same cases, against the definition itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec import rvq
from codec.errors import ArrayError, BackendError, TokensError
from codec.kernels import available, load
from tests.helpers.fma import fma
from tests.helpers.kernel_cases import case
from tests.helpers.processes import python
from tests.helpers.rvq_cases import HARD, hard_words, scores

EXACT = [name for name in ("native", "numba") if name in available()]
BACKENDS = available()
ISAS = load("codec.kernels._native").isas() if "native" in EXACT else ()


def reference(latents: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    residual = latents.copy()
    codes = np.empty((len(codebooks), len(latents)), np.uint16)
    for level, words in enumerate(codebooks):
        score = scores(residual, words)
        score[np.isnan(score)] = np.inf  # never wins; a row of these gives 0
        codes[level] = score.argmin(axis=1)  # the first of equals
        residual = residual - words[codes[level]]
    return codes


def test_reference_fma_rounds_once() -> None:
    rng = np.random.default_rng(1)
    a, b, c = rng.standard_normal((3, 2000)).astype(np.float32)
    c[:1000] = -(a * b)[:1000]  # cancellation: all that is left is what rounding would have lost
    got = fma(a, b, c)
    for x, y, z, value in zip(a, b, c, got, strict=True):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        best = abs(Fraction(float(value)) - exact)
        for side in (-np.inf, np.inf):
            other = np.nextafter(value, np.float32(side), dtype=np.float32)
            assert best <= abs(Fraction(float(other)) - exact)


@pytest.mark.parametrize("backend", EXACT)
@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(0, 40),
    q=st.integers(1, 4),
    k=st.sampled_from([1, 2, 31, 32, 33, 64, 100]),
    d=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
)
def test_codes_are_those_of_the_definition(
    backend: str, n: int, q: int, k: int, d: int, seed: int
) -> None:
    latents, codebooks = case(n, q, k, d, seed)
    codes = rvq.encode(latents, codebooks, backend=backend)
    assert codes.dtype == np.uint16
    np.testing.assert_array_equal(codes, reference(latents, codebooks))


@pytest.mark.parametrize("backend", EXACT)
def test_near_ties_are_decided_as_defined(backend: str) -> None:
    """On a coarse grid many scores tie or differ in the last bit; order and rounding decide."""
    rng = np.random.default_rng(2)
    codebooks = (rng.integers(-3, 4, (3, 200, 5)) / np.float32(3)).astype(np.float32)
    latents = (rng.integers(-6, 7, (300, 5)) / np.float32(6)).astype(np.float32)
    expected = reference(latents, codebooks)
    np.testing.assert_array_equal(rvq.encode(latents, codebooks, backend=backend), expected)
    in_float64 = ((latents[:, None].astype(np.float64) - codebooks[0]) ** 2).sum(2).argmin(1)
    assert (in_float64 != expected[0]).any(), "the case is too easy to tell orders apart"


@pytest.mark.skipif(not ISAS, reason="needs the native kernels")
@pytest.mark.parametrize("kind", HARD)
@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 16),
    q=st.integers(1, 3),
    k=st.sampled_from([1, 63, 64, 65, 128, 200]),
    d=st.one_of(st.integers(1, 40), st.sampled_from([160, 200])),
    own=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_hard_cases_on_every_instruction_set_with_and_without_the_screen(
    kind: str, n: int, q: int, k: int, d: int, own: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    codebooks = hard_words(kind, rng, (q, k, d))
    # Latents near codewords, some on them: their next residual is zero or all but.
    latents = codebooks[0, rng.integers(0, k, n)]
    if not own:
        latents = latents + hard_words(kind, rng, (1, n, d))[0] * rng.integers(0, 3, (n, 1))
    latents = np.clip(latents, -3e38, 3e38).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = reference(latents, codebooks)
    for isa in ISAS:
        for screen in (False, True):
            plan = load("codec.kernels._native").RvqPlan(codebooks, isa, screen=screen)
            np.testing.assert_array_equal(plan.encode(latents, q, isa), expected, f"{isa} {screen}")
        once = load("codec.kernels._native").encode_rvq_once(latents, codebooks, isa)
        np.testing.assert_array_equal(once, expected)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("k", [1024, 1025, 2500])
def test_codebooks_larger_than_the_screen_takes_at_a_time(isa: str, k: int) -> None:
    latents, codebooks = case(n=20, q=2, k=k, d=6)
    plan = load("codec.kernels._native").RvqPlan(codebooks, isa)
    np.testing.assert_array_equal(plan.encode(latents, 2, isa), reference(latents, codebooks))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", ["gaussian", "int8", "repeated"])
def test_the_batch_changes_nothing_on_any_instruction_set(isa: str, kind: str) -> None:
    rng = np.random.default_rng(4)
    codebooks = hard_words(kind, rng, (2, 150, 24))
    latents = rng.standard_normal((500, 24), np.float32)  # more than a chunk, ends inside a tile
    plan = load("codec.kernels._native").RvqPlan(codebooks, isa)
    whole = plan.encode(latents, 2, isa)
    np.testing.assert_array_equal(whole, reference(latents, codebooks))
    for n in range(1, 14):
        np.testing.assert_array_equal(plan.encode(latents[:n], 2, isa), whole[:, :n])
        # a plan of another instruction set serves as well
        np.testing.assert_array_equal(plan.encode(latents[:n], 2, "scalar"), whole[:, :n])


@pytest.mark.parametrize("backend", EXACT)
def test_the_batch_changes_nothing(backend: str) -> None:
    latents, codebooks = case(n=253, q=2, k=70, d=9)
    whole = rvq.encode(latents, codebooks, backend=backend)
    for cut in (1, 5, 6, 239, 240, 241):
        parts = [rvq.encode(x, codebooks, backend=backend) for x in np.split(latents, [cut])]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_codewords_give_the_lowest_index(backend: str) -> None:
    word = np.ones((1, 1, 4), np.float32)
    codebooks = np.concatenate([np.full_like(word, 9), *[word] * 99], axis=1)
    codes = rvq.encode(np.ones((7, 4), np.float32), codebooks, backend=backend)
    np.testing.assert_array_equal(codes, np.ones((1, 7)))


@pytest.mark.parametrize("backend", EXACT)
def test_scores_that_overflow_never_win(backend: str) -> None:
    codebooks = np.array([[[3e38, 3e38], [3e38, -3e38], [1, 1]]], np.float32)
    latents = np.array([[2e38, 2e38]], np.float32)
    # half = inf for the first two: inf - inf and inf - nan; the third is finite, and the best.
    assert rvq.encode(latents, codebooks, backend=backend).item() == 2
    assert rvq.encode(latents, codebooks[:, :2], backend=backend).item() == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_chosen_codewords_are_nearest_up_to_rounding(backend: str) -> None:
    """The chosen score is within 2 (D + 2) u (|half| + sum |r c|) of the lowest, in float64.

    A float32 sum of D products, in any order, is within D u sum|r c| of the exact one
    (u = 2^-24; Higham, 2002, section 3.1); halving is exact, the subtraction adds one u. Two such
    errors, of the chosen and of the lowest, are what a wrong choice can be off by.
    """
    latents, codebooks = case(n=400, q=4, k=128, d=32)
    codes = rvq.encode(latents, codebooks, backend=backend)
    residual = latents
    rows = np.arange(len(latents))
    for words, level_codes in zip(codebooks, codes, strict=True):
        r, c = residual.astype(np.float64), words.astype(np.float64)
        half = 0.5 * (c * c).sum(1)
        exact = half - r @ c.T
        slack = 2 * (32 + 2) * 2.0**-24 * (half + np.abs(r) @ np.abs(c).T).max(axis=1)
        assert (exact[rows, level_codes] - exact.min(axis=1) <= slack).all()
        residual = residual - words[level_codes]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_prefix_of_the_codebooks_gives_a_prefix_of_the_codes(backend: str) -> None:
    latents, codebooks = case(n=50, q=4, k=40, d=8)
    codes = rvq.encode(latents, codebooks, backend=backend)
    for levels in range(1, 5):
        prefix = rvq.encode(latents, codebooks, n_codebooks=levels, backend=backend)
        np.testing.assert_array_equal(prefix, codes[:levels])


@pytest.mark.parametrize("backend", BACKENDS)
def test_decode_sums_the_codewords_in_order(backend: str) -> None:
    latents, codebooks = case(n=60, q=5, k=33, d=7)
    codes = rvq.encode(latents, codebooks, backend=backend)
    for levels in (1, 3, 5):
        expected = np.zeros_like(latents)
        for level in range(levels):
            expected += codebooks[level][codes[level]]
        np.testing.assert_array_equal(
            rvq.decode(codes[:levels], codebooks, backend=backend), expected
        )


@pytest.mark.parametrize("backend", BACKENDS)
def test_codewords_code_themselves(backend: str) -> None:
    _, codebooks = case(n=0, q=1, k=65, d=6)
    codes = rvq.encode(codebooks[0], codebooks, backend=backend)
    np.testing.assert_array_equal(codes[0], np.arange(65))
    np.testing.assert_array_equal(rvq.decode(codes, codebooks, backend=backend), codebooks[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_vectors(backend: str) -> None:
    _, codebooks = case(n=0, q=3, k=8, d=4)
    codes = rvq.encode(np.empty((0, 4), np.float32), codebooks, backend=backend)
    assert codes.shape == (3, 0)
    assert rvq.decode(codes, codebooks, backend=backend).shape == (0, 4)


@pytest.mark.parametrize("backend", EXACT)
def test_the_largest_codebook(backend: str) -> None:
    codebooks = np.arange(65536, dtype=np.float32).reshape(1, -1, 1)
    latents = np.array([[0.4], [65535], [70000], [32768.4]], np.float32)
    codes = rvq.encode(latents, codebooks, backend=backend)
    # Scores near k^2 / 2 = 2^31 are multiples of 128 or more: the definition, not the ideal.
    np.testing.assert_array_equal(codes, reference(latents, codebooks))


@pytest.mark.skipif("native" not in EXACT or "torch" not in BACKENDS, reason="needs both")
def test_flush_to_zero_set_by_others_changes_nothing() -> None:
    import torch

    tiny = np.float32(1e-41)  # subnormal: with flush-to-zero on, both codewords would tie
    codebooks = np.array([[[0, 1], [tiny * 8, 1]]], np.float32)
    codes_then = rvq.decode(np.array([[1]]), codebooks, backend="native")
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU has no flush-to-zero")
    try:
        codes_now = rvq.decode(np.array([[1]]), codebooks, backend="native")
    finally:
        torch.set_flush_denormal(False)
    assert codes_now.tobytes() == codes_then.tobytes() != np.zeros(2, np.float32).tobytes()
    assert codes_now[0, 0] > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_codebooks_made_ready_are_the_array_they_were(backend: str) -> None:
    latents, values = case(n=30, q=3, k=100, d=12)
    codes = rvq.encode(latents, values, backend=backend)
    audio = rvq.decode(codes, values, backend=backend)
    codebooks = rvq.Codebooks(values)
    values[:] = 0  # they have a copy
    for _ in range(2):
        np.testing.assert_array_equal(rvq.encode(latents, codebooks, backend=backend), codes)
    first = rvq.encode(latents[:2], codebooks, n_codebooks=1, backend=backend)
    np.testing.assert_array_equal(first, codes[:1, :2])
    np.testing.assert_array_equal(rvq.decode(codes, codebooks, backend=backend), audio)
    with pytest.raises(ValueError, match="read-only"):
        codebooks.values[0] = 1


@pytest.mark.parametrize("backend", EXACT)
def test_threads_share_codebooks(backend: str) -> None:
    latents, values = case(n=240, q=3, k=100, d=12)
    codebooks = rvq.Codebooks(values)
    with ThreadPoolExecutor(4) as pool:
        parts = list(
            pool.map(lambda x: rvq.encode(x, codebooks, backend=backend), np.split(latents, 12))
        )
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), reference(latents, values))


LATENTS, CODEBOOKS = case(n=3, q=2, k=4, d=5)


@pytest.mark.parametrize(
    ("latents", "codebooks", "n_codebooks"),
    [
        (LATENTS.astype(np.int64), CODEBOOKS, None),
        (LATENTS.astype(np.float64) * 1e39, CODEBOOKS, None),
        (LATENTS[0], CODEBOOKS, None),
        (LATENTS[:, :4], CODEBOOKS, None),
        (LATENTS * np.float32(np.nan), CODEBOOKS, None),
        (LATENTS, CODEBOOKS[0], None),
        (LATENTS, CODEBOOKS[:, :0], None),
        (LATENTS[:, :0], CODEBOOKS[:, :, :0], None),
        (LATENTS, CODEBOOKS[:0], None),
        (LATENTS, np.where(CODEBOOKS > 0, np.float32(np.inf), CODEBOOKS), None),
        (np.ones((1, 1), np.float32), np.ones((1, 65537, 1), np.float32), None),
        (LATENTS, CODEBOOKS, 0),
        (LATENTS, CODEBOOKS, 3),
    ],
)
def test_encode_refuses(latents: Any, codebooks: Any, n_codebooks: int | None) -> None:
    with pytest.raises(ArrayError):
        rvq.encode(latents, codebooks, n_codebooks=n_codebooks)
    with pytest.raises(ArrayError):
        rvq.encode(latents, rvq.Codebooks(codebooks), n_codebooks=n_codebooks)


@pytest.mark.parametrize(
    "codes",
    [
        np.zeros((3, 2), np.uint16),
        np.zeros((0, 2), np.uint16),
        np.zeros(2, np.uint16),
        np.zeros((2, 2), np.float32),
        np.full((1, 1), 4),
        np.full((1, 1), -1),
        np.full((1, 1), 65536),
    ],
)
def test_decode_refuses(codes: Any) -> None:
    with pytest.raises(TokensError):
        rvq.decode(codes, CODEBOOKS)


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(BackendError, match="'fpga'"):
        rvq.encode(LATENTS, CODEBOOKS, backend="fpga")


@pytest.mark.skipif("native" not in EXACT, reason="needs the native kernels")
def test_native_imports_neither_torch_nor_numba() -> None:
    code = (
        "import sys, numpy, codec.rvq, codec.mel; f = numpy.zeros((1, 1), 'f4');"
        "codec.rvq.encode(f, f[None], backend='native');"
        "assert not {'torch', 'numba'} & set(sys.modules)"
    )
    python(code)


@pytest.mark.skipif(not ISAS, reason="needs the native kernels")
def test_the_environment_chooses_the_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    native = load("codec.kernels._native")
    books = np.zeros((1, 2, 3), np.float32)
    monkeypatch.setenv("CODEC_ISA", "scalar")
    native.RvqPlan(books).encode(np.zeros((1, 3), np.float32), 1)
    monkeypatch.setenv("CODEC_ISA", "altivec")
    with pytest.raises(ValueError, match=f"this CPU runs {', '.join(ISAS)}, not altivec"):
        native.RvqPlan(books)
