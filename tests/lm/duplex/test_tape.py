"""A tape is the concatenation of what was appended, and reads nothing but what is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.lm.duplex import tape
from codec.lm.duplex.tape import Tape

LENGTHS = st.lists(st.integers(0, 40), max_size=12)


def made(rows: tuple[int, ...], lengths: list[int]) -> tuple[Tape[np.uint16], np.ndarray]:
    """A tape of blocks of a few columns, and the same as one array."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tape, "BLOCK_BYTES", 32)
        built = Tape(np.uint16, *rows)
    whole = np.arange(int(np.prod(rows)) * sum(lengths), dtype=np.uint16)
    whole = whole.reshape(*rows, sum(lengths))
    for piece in np.split(whole, np.cumsum(lengths)[:-1], axis=-1) if lengths else []:
        built.append(piece)
    return built, whole


@given(st.sampled_from([(), (3,), (2, 2)]), LENGTHS, st.integers(0, 500), st.integers(0, 500))
def test_it_reads_as_the_concatenation_does(
    rows: tuple[int, ...], lengths: list[int], start: int, stop: int
) -> None:
    built, whole = made(rows, lengths)
    assert len(built) == whole.shape[-1]
    found = built.read(start, stop)
    assert found.dtype == np.uint16
    assert found.flags.c_contiguous
    assert np.array_equal(found, whole[..., start:stop])
    assert np.array_equal(built.read(0, len(built)), whole)


@given(LENGTHS, st.lists(st.integers(-5, 500), min_size=1), st.integers(0, 500))
def test_what_is_forgotten_is_gone_and_the_rest_stays(
    lengths: list[int], before: list[int], start: int
) -> None:
    built, whole = made((3,), lengths)
    for place in before:
        built.forget(place)
    first = max(0, min(max(before), len(built)))
    assert np.array_equal(built.read(first, len(built)), whole[:, first:])
    if first and start < first:
        with pytest.raises(IndexError):
            built.read(start, len(built))
    built.append(whole)
    assert np.array_equal(built.read(first, len(built)), np.hstack([whole[:, first:], whole]))


@given(st.lists(st.integers(0, 40), min_size=1), st.integers(0, 500), st.integers(0, 500))
def test_it_touches_only_what_is_read_or_appended(
    lengths: list[int], start: int, stop: int
) -> None:
    built, whole = made((3,), lengths)
    expected, size = whole[:, start:stop], built._size
    before = list(built._blocks)
    for number in range(len(before)):
        if number < start // size or number > max(start, stop) // size:
            built._blocks[number] = None  # type: ignore[assignment]
    assert np.array_equal(built.read(start, stop), expected)
    # The memory of a block stays where it is while the tape grows.
    built, _ = made((3,), lengths)
    before = list(built._blocks)
    built.append(whole)
    assert all(a is b for a, b in zip(before, built._blocks, strict=False))


def test_it_keeps_no_more_memory_than_is_left() -> None:
    built: Tape[np.float32] = Tape(np.float32)
    for _ in range(100):
        built.append(np.zeros(5000, np.float32))
        built.forget(len(built) - 100)
    assert len(built) == 500_000
    assert len(built._blocks) <= 2


def test_it_keeps_a_copy() -> None:
    built: Tape[np.float32] = Tape(np.float32)
    piece = np.ones(3, np.float32)
    built.append(piece)
    piece[:] = 2
    built.read(0, 3)[:] = 3
    assert np.array_equal(built.read(0, 3), np.ones(3))
