"""The counter-based generator: published words, and independence of how it is asked."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st

from codec.training import counter

WORD = st.integers(0, 2**32 - 1)

# Random123 1.14, tests/kat_vectors, "philox4x32 10": counter, key, result.
KNOWN = [
    "00000000 00000000 00000000 00000000 00000000 00000000 6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    "ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 408f276d 41c83b0e a20bc7c6 6d5451fd",
    "243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0 d16cfe09 94fdcceb 5001e420 24126ea1",
]


def reference(place: list[int], seed: int) -> list[int]:
    """Philox4x32-10 with Python's integers, as the paper states it."""
    a, b, c, d = place
    keys = [seed % 2**32, seed >> 32]
    for _ in range(10):
        first, second = a * 0xD2511F53, c * 0xCD9E8D57
        a, b = (second >> 32) ^ b ^ keys[0], second % 2**32
        c, d = (first >> 32) ^ d ^ keys[1], first % 2**32
        keys = [(keys[0] + 0x9E3779B9) % 2**32, (keys[1] + 0xBB67AE85) % 2**32]
    return [a, b, c, d]


@pytest.mark.parametrize("line", KNOWN)
def test_known_answers(line: str) -> None:
    numbers = [int(word, 16) for word in line.split()]
    place = [torch.tensor(number) for number in numbers[:4]]
    found = counter.philox(tuple(place), numbers[4] + (numbers[5] << 32))
    assert [int(word) for word in found] == numbers[6:]


@given(st.lists(WORD, min_size=4, max_size=4), st.integers(0, 2**64 - 1))
def test_any_words_are_those_of_whole_integers(place: list[int], seed: int) -> None:
    found = counter.philox(tuple(torch.tensor([number]) for number in place), seed)
    assert [int(word) for word in found] == reference(place, seed)


@given(
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**50),
    st.lists(st.integers(0, 1000), min_size=1, max_size=4),
    st.integers(0, 255),
    st.integers(1, 20),
)
def test_words_depend_on_their_place_alone(
    seed: int, step: int, rows: list[int], stream: int, count: int
) -> None:
    found = counter.words(seed, torch.tensor(step), torch.tensor(rows), stream, count)
    assert found.shape == (len(rows), count)
    for row, line in zip(rows, found.tolist(), strict=True):
        expected: list[int] = []
        for block in range(-(-count // 4)):
            expected += reference([block + (stream << 24), row, step % 2**32, step >> 32], seed)
        assert line == expected[:count]


def test_unit_is_exact_and_below_one() -> None:
    ends = counter.unit(torch.tensor([0, 1, 2**32 - 1]))
    assert ends.tolist() == [0, 2**-32, 1 - 2**-32]


def test_normal_numbers_have_the_moments_of_normal_numbers() -> None:
    drawn = counter.words(5, torch.tensor(3), torch.arange(4), 1, 2**16)
    x = counter.normal(drawn).double()
    # Six standard errors of the mean of n numbers of variance 1, 2, 15 and 96.
    error = 6 / x.numel() ** 0.5
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(float((x**power).mean()) - mean) < error * variance**0.5
    assert float((x[:, : 2**15] * x[:, 2**15 :]).mean().abs()) < error * 2**0.5
    extremes = counter.normal(torch.tensor([0, 2**32 - 1, 0, 2**32 - 1]))
    assert torch.isfinite(extremes).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_draws_the_same_words() -> None:
    here = counter.words(9, torch.tensor(2**33 + 7), torch.arange(8), 2, 1001)
    there = counter.words(
        9, torch.tensor(2**33 + 7, device="cuda"), torch.arange(8, device="cuda"), 2, 1001
    )
    assert torch.equal(here, there.cpu())
    assert torch.equal(counter.unit(here), counter.unit(there).cpu())
