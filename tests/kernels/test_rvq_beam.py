"""The beam search of the codes, against its definition and against all choices there are."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec import rvq
from codec.errors import ArrayError, BackendError
from codec.kernels import available, load
from tests.helpers.kernel_cases import case
from tests.helpers.rvq_cases import HARD, hard_words, scores

EXACT = [name for name in ("native", "numba") if name in available()]
ISAS = load("codec.kernels._native").isas() if "native" in EXACT else ()


def reference(latents: np.ndarray, codebooks: np.ndarray, beam: int) -> np.ndarray:
    """csrc/rvq/rvq_beam.h, line by line: codes [Q, N]."""
    codes = np.empty((len(codebooks), len(latents)), np.uint16)
    for i, latent in enumerate(latents):
        paths: list[tuple[np.float32, np.ndarray, list[int]]] = [(np.float32(0), latent, [])]
        for words in codebooks:
            score = scores(np.stack([residual for _, residual, _ in paths]), words)
            found = [
                (np.float32(cost + score[p, k]), p, k)
                for p, (cost, _, _) in enumerate(paths)
                for k in range(len(words))
            ]
            best = sorted(one for one in found if one[0] < np.inf)[:beam]  # NaN is not
            best = best or [(paths[0][0], 0, 0)]
            paths = [(c, paths[p][1] - words[k], [*paths[p][2], k]) for c, p, k in best]
        codes[:, i] = paths[0][2]
    return codes


def error(latents: np.ndarray, codebooks: np.ndarray, codes: np.ndarray) -> float:
    return float(np.square(latents - rvq.decode(codes, codebooks), dtype=np.float64).sum())


# From one level to the next: the last makes scores so small that costs absorb them.
SMALLER = (1.0, 0.3, 1e-4)


def hard_case(
    kind: str, n: int, q: int, k: int, d: int, smaller: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Latents [N, D] near codewords, some on them, and codebooks [Q, K, D]."""
    rng = np.random.default_rng(seed)
    codebooks = hard_words(kind, rng, (q, k, d))
    codebooks *= np.float32(smaller) ** np.arange(q, dtype=np.float32)[:, None, None]
    latents = codebooks[0, rng.integers(0, k, n)] * rng.integers(1, 4, (n, 1))
    latents = latents + hard_words(kind, rng, (1, n, d))[0] * rng.integers(0, 2, (n, 1))
    return np.clip(latents, -3e38, 3e38).astype(np.float32), codebooks


@pytest.mark.parametrize("backend", EXACT)
@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(0, 9),
    q=st.integers(1, 4),
    k=st.sampled_from([1, 2, 31, 33, 64]),
    d=st.integers(1, 20),
    beam=st.sampled_from([2, 3, 8, 64]),
    seed=st.integers(0, 2**32 - 1),
)
def test_codes_are_those_of_the_definition(
    backend: str, n: int, q: int, k: int, d: int, beam: int, seed: int
) -> None:
    latents, codebooks = case(n, q, k, d, seed)
    codes = rvq.encode(latents, codebooks, beam=beam, backend=backend)
    assert codes.dtype == np.uint16
    np.testing.assert_array_equal(codes, reference(latents, codebooks, beam))


@pytest.mark.skipif(not ISAS, reason="needs the native kernels")
@pytest.mark.parametrize("kind", HARD)
@settings(max_examples=8, deadline=None)
@given(
    n=st.integers(1, 5),
    q=st.integers(1, 3),
    k=st.sampled_from([1, 32, 64, 65, 150]),
    d=st.integers(1, 24),
    beam=st.sampled_from([2, 5, 16]),
    smaller=st.sampled_from(SMALLER),
    seed=st.integers(0, 2**32 - 1),
)
def test_hard_cases_on_every_instruction_set_with_and_without_the_screen(
    kind: str, n: int, q: int, k: int, d: int, beam: int, smaller: float, seed: int
) -> None:
    """Ties, and values that overflow: the codes are those of the definition there too."""
    latents, codebooks = hard_case(kind, n, q, k, d, smaller, seed)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = reference(latents, codebooks, beam)
    for isa in ISAS:
        for screen in (False, True):
            plan = load("codec.kernels._native").RvqPlan(codebooks, isa, screen=screen)
            codes = plan.encode_beam(latents, q, beam, isa)
            np.testing.assert_array_equal(codes, expected, f"{isa} {screen}")
    if "numba" in EXACT:
        codes = rvq.encode(latents, codebooks, beam=beam, backend="numba")
        np.testing.assert_array_equal(codes, expected)


@pytest.mark.skipif(not ISAS, reason="needs the native kernels")
@pytest.mark.parametrize("kind", HARD)
@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 20),
    q=st.integers(1, 6),
    k=st.sampled_from([64, 127, 1024, 1100]),
    d=st.sampled_from([1, 7, 16, 160, 161]),
    beam=st.integers(2, 64),
    smaller=st.sampled_from(SMALLER),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_screen_changes_no_code(
    kind: str, n: int, q: int, k: int, d: int, beam: int, smaller: float, seed: int
) -> None:
    latents, codebooks = hard_case(kind, n, q, k, d, smaller, seed)
    plain, screened = (
        load("codec.kernels._native").RvqPlan(codebooks, screen=screen) for screen in (False, True)
    )
    expected = plain.encode_beam(latents, q, beam)
    np.testing.assert_array_equal(screened.encode_beam(latents, q, beam), expected)


@pytest.mark.parametrize("backend", EXACT)
def test_as_many_paths_as_choices_find_the_best_of_all(backend: str) -> None:
    rng = np.random.default_rng(3)
    codebooks = rng.standard_normal((3, 4, 6), np.float32)
    latents = rng.standard_normal((40, 6), np.float32) * 2
    codes = rvq.encode(latents, codebooks, beam=64, backend=backend)
    every = np.array(list(itertools.product(range(4), repeat=3)))
    sums = sum(codebooks[level, every[:, level]].astype(np.float64) for level in range(3))
    nearest = np.square(latents[:, None] - sums).sum(2).argmin(1)
    np.testing.assert_array_equal(codes.T, every[nearest])
    assert (codes != rvq.encode(latents, codebooks, backend=backend)).any()


@pytest.mark.parametrize("backend", EXACT)
def test_more_paths_come_closer(backend: str) -> None:
    latents, codebooks = case(n=300, q=6, k=64, d=24)
    errors = [
        error(latents, codebooks, rvq.encode(latents, codebooks, beam=beam, backend=backend))
        for beam in (1, 2, 4, 16, 64)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.9 * errors[0]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("beam", [2, 7, 16, 61, 64])
def test_the_batch_changes_nothing(isa: str, beam: int) -> None:
    """Chunks of 120 rows hold other numbers of vectors, and tiles end inside of them."""
    latents, codebooks = case(n=130, q=3, k=70, d=9)
    plan = load("codec.kernels._native").RvqPlan(codebooks, isa)
    whole = plan.encode_beam(latents, 3, beam, isa)
    for cut in (1, 2, 59, 60, 61, 129):
        parts = [plan.encode_beam(x, 3, beam, isa) for x in np.split(latents, [cut])]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


@pytest.mark.parametrize("backend", EXACT)
def test_one_path_is_the_search_for_the_nearest(backend: str) -> None:
    latents, codebooks = case(n=40, q=3, k=50, d=9)
    shared = rvq.Codebooks(codebooks)
    one = rvq.encode(latents, shared, beam=1, backend=backend)
    np.testing.assert_array_equal(one, rvq.encode(latents, codebooks, backend=backend))
    many = rvq.encode(latents, shared, n_codebooks=2, beam=4, backend=backend)
    np.testing.assert_array_equal(many, rvq.encode(latents, codebooks[:2], beam=4, backend=backend))


@pytest.mark.parametrize("beam", [0, -1, 65, 2.5, "8", None])
def test_other_beams_are_refused(beam: Any) -> None:
    latents, codebooks = case(n=2, q=1, k=4, d=3)
    with pytest.raises(ArrayError, match="1 to 64 paths"):
        rvq.encode(latents, codebooks, beam=beam)


@pytest.mark.skipif("torch" not in available(), reason="needs PyTorch")
def test_torch_has_none_and_says_so() -> None:
    latents, codebooks = case(n=2, q=1, k=4, d=3)
    with pytest.raises(BackendError, match="no beam search"):
        rvq.encode(latents, codebooks, beam=2, backend="torch")
