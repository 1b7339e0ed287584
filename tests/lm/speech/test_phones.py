"""Phones along frames: nothing is lost, and what was laid can be read back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.errors import DataError
from codec.lm.speech.phones import (
    FARTHEST,
    PHONES,
    ids_of,
    lay,
    lay_alignment,
    read_alignment,
    read_back,
)

phone = st.sampled_from(PHONES)


def test_ids_are_a_count_from_one() -> None:
    assert ids_of(PHONES) == list(range(1, 41))
    with pytest.raises(DataError, match="'XX' is not a phone"):
        ids_of(["XX"])


@given(st.lists(st.tuples(phone, st.integers(1, 50)), max_size=30))
def test_whole_frames_are_read_back(spoken: list[tuple[str, int]]) -> None:
    """Durations of whole frames come back exactly."""
    laid = lay([name for name, _ in spoken], [4 * frames for _, frames in spoken])
    assert laid.shape == (sum(frames for _, frames in spoken), 3)
    assert read_back(laid) == spoken


@given(st.lists(st.tuples(phone, st.floats(0.3, 60)), min_size=1, max_size=40))
def test_no_phone_is_lost_and_the_sum_is_kept(spoken: list[tuple[str, float]]) -> None:
    names, durations = zip(*spoken, strict=True)
    laid = lay(names, durations)
    found = read_back(laid)
    assert [name for name, _ in found] == list(names)
    assert min(frames for _, frames in found) >= 1
    assert abs(len(laid) - max(sum(durations) / 4, len(names))) <= 0.5 + 1e-9


def nearest(starts: np.ndarray, n_frames: int) -> float:
    """The least sum of squared moves, by trying all boundaries."""
    places = itertools.combinations(range(1, n_frames), len(starts) - 1)
    return min(float(((np.array([0, *place]) - starts) ** 2).sum()) for place in places)


@settings(deadline=None)
@given(st.lists(st.floats(1, 12), min_size=1, max_size=6))
def test_boundaries_move_as_little_as_possible(durations: list[float]) -> None:
    """Rounding aside, no other boundaries lie nearer to the wanted ones."""
    starts = np.cumsum(durations) / 4 - np.array(durations) / 4
    laid = lay(["AA"] * len(durations), durations)
    begins = np.nonzero(laid[:, 1] == 0)[0]
    moved = float(((begins - starts) ** 2).sum())
    assert moved <= nearest(starts, len(laid)) + 0.25 * len(durations) + 1e-9


def test_distances_count_from_both_ends() -> None:
    laid = lay(["AA", "S"], [12, 8])
    a, s = ids_of(["AA", "S"])
    assert laid.tolist() == [[a, 0, 3], [a, 1, 2], [a, 2, 1], [s, 0, 2], [s, 1, 1]]
    long = lay(["SIL"], [4 * 100])
    assert long[:, 1:].max() == FARTHEST
    assert read_back(long) == [("SIL", 100)]


@given(st.lists(st.tuples(phone, st.integers(1, 40)), min_size=1, max_size=20), st.integers(0, 200))
def test_an_alignment_fills_its_clip(spoken: list[tuple[str, int]], n_frames: int) -> None:
    starts = np.cumsum([0, *(length for _, length in spoken)])[:-1]
    text = " ".join(f"{start}:{name}" for start, (name, _) in zip(starts, spoken, strict=True))
    assert read_alignment(text) == ([name for name, _ in spoken], starts.tolist())
    laid = lay_alignment(text, n_frames)
    assert laid.shape == (n_frames, 3)
    assert (laid[:, 0] > 0).all()
    assert (laid[:, 2] > 0).all()


def test_frames_without_a_phone_are_zeros() -> None:
    assert not lay_alignment("", 7).any()
    laid = lay_alignment("8:AA", 4)
    assert laid[:, 0].tolist() == [0, 0, *ids_of(["AA", "AA"])]
    assert read_back(laid) == [("AA", 2)]
    assert lay_alignment("400:AA", 4).tolist() == [[0, 0, 0]] * 4


def test_what_does_not_fit_is_left_out_by_rule() -> None:
    assert [name for name, _ in read_back(lay(["AA", "S", "T"], [4, 1, 4], 2))] == ["AA", "T"]
    assert read_back(lay(["AA", "S"], [40, 4], 5)) == [("AA", 5)]
    assert lay([], []).shape == (0, 3)


def test_noises_are_pauses() -> None:
    assert read_alignment("0:+NSN+ 5:AA") == (["SIL", "AA"], [0, 5])


@pytest.mark.parametrize("text", ["AA", "x:AA", "0:QQ", "4:AA 4:S", "-1:AA", "0:AA 9"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(DataError):
        read_alignment(text)


def test_durations_are_checked() -> None:
    with pytest.raises(DataError, match="1 phones have 2 durations"):
        lay(["AA"], [1, 2])
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(DataError, match="not above 0"):
            lay(["AA"], [wrong])
