"""Layouts are inverted exactly, whole and cut short, and come out as the module draws them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import LayoutError
from codec.lm.layouts import (
    LAYOUTS,
    CoarseFirst,
    Delay,
    Flat,
    Layout,
    make_layout,
    smallest_dtype,
)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    name = draw(st.sampled_from(sorted(LAYOUTS)))
    n, size = draw(st.integers(1, 9)), draw(st.sampled_from([2, 16, 1024]))
    options: dict[str, Any] = {}
    if name == "delay" and draw(st.booleans()):
        options["delays"] = draw(st.lists(st.integers(0, 6), min_size=n, max_size=n))
    if name == "coarse_first" and draw(st.booleans()):
        cuts = sorted(draw(st.sets(st.integers(1, n - 1)))) if n > 1 else []
        options["groups"] = np.diff([0, *cuts, n]).tolist()
    return make_layout(name, n, size, **options)


def random_codes(layout: Layout, *shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    full = (*shape[:-1], layout.n_codebooks, shape[-1])
    return rng.integers(0, layout.codebook_size, full).astype(np.uint16)


def letters(layout: Layout, n_frames: int) -> str:
    names = [f"{'abc'[q]}{t}" for q in range(layout.n_codebooks) for t in range(n_frames)]
    codes = np.arange(n_frames)[None].repeat(layout.n_codebooks, 0)
    ids = layout.to_ids(codes)
    table = {layout.mask: "--"} | {
        q * layout.codebook_size + t: names[q * n_frames + t]
        for q in range(layout.n_codebooks)
        for t in range(n_frames)
    }
    return " ".join(table[int(i)] for i in ids)


@pytest.mark.parametrize(
    ("name", "drawing"),
    [
        ("flat", "a0 b0 a1 b1 a2 b2 a3 b3"),
        ("coarse_first", "a0 a1 a2 a3 b0 b1 b2 b3"),
        ("delay", "a0 -- a1 b0 a2 b1 a3 b2 -- b3"),
        ("parallel", "a0 b0 a1 b1 a2 b2 a3 b3"),
    ],
)
def test_drawings(name: str, drawing: str) -> None:
    assert letters(make_layout(name, 2, 16), 4) == drawing


def test_audiolm_s_stages_and_moshi_s_delays() -> None:
    assert letters(CoarseFirst(3, 16, groups=(2, 1)), 2) == "a0 b0 a1 b1 c0 c1"
    assert letters(Delay(3, 16, delays=(0, 1, 1)), 2) == "a0 -- -- a1 b0 c0 -- b1 c1"


@given(layouts(), st.integers(0, 30), st.sampled_from([(), (1,), (3,), (2, 2)]))
def test_round_trip(layout: Layout, n_frames: int, batch: tuple[int, ...]) -> None:
    codes = random_codes(layout, *batch, n_frames)
    ids = layout.to_ids(codes)
    assert ids.shape == (*batch, layout.length(n_frames))
    assert ids.dtype == layout.dtype
    back = layout.from_ids(ids)
    assert back.dtype == np.uint16
    assert np.array_equal(back, codes)
    assert make_layout(**layout.describe()) == layout


@given(layouts(), st.integers(0, 12), st.data())
def test_a_sequence_cut_short_keeps_its_complete_frames(
    layout: Layout, n_frames: int, data: st.DataObject
) -> None:
    codes = random_codes(layout, n_frames)
    ids = layout.to_ids(codes)
    cut = data.draw(st.integers(0, len(ids)))
    back = layout.from_ids(ids[:cut])
    levels, frames = back.shape
    assert np.array_equal(back, codes[:levels, :frames])
    if isinstance(layout, CoarseFirst):
        sizes = np.cumsum(layout.groups)
        assert levels in sizes
        whole = [int(s) for s in sizes if s * n_frames <= cut]
        if whole and n_frames:
            assert (levels, frames) == (max(whole), n_frames)
        else:
            assert frames == cut // layout.groups[0]
    else:
        held = (layout.positions(n_frames) < cut).all(axis=0)
        assert frames == held.sum()  # frames come in order, so these are the first
        assert levels == layout.n_codebooks


@given(layouts(), st.integers(0, 12))
def test_owners_are_the_inverse_of_positions(layout: Layout, n_frames: int) -> None:
    if isinstance(layout, CoarseFirst):
        with pytest.raises(LayoutError, match="depends on the frames"):
            layout.frame_of(3)
        return
    length = layout.length(n_frames)
    places = layout.positions(n_frames)
    frames, levels = layout.frame_of(length), layout.level_of(length)
    for q in range(layout.n_codebooks):
        assert np.array_equal(frames[places[q]], np.arange(n_frames))
        assert (levels[places[q]] == q).all()
    for first in range(length):
        assert np.array_equal(layout.frame_of(first), layout.frame_of(length + 1)[:first])
    ids = layout.to_ids(random_codes(layout, n_frames))
    filled = ids != layout.mask
    assert np.array_equal(ids[filled] // layout.codebook_size, levels[filled])


@given(layouts(), st.integers(1, 12), st.integers(0, 5))
def test_what_was_written_of_a_stream_stays(layout: Layout, n_frames: int, more: int) -> None:
    if isinstance(layout, CoarseFirst):
        return
    codes = random_codes(layout, n_frames + more)
    part, whole = layout.to_ids(codes[:, :n_frames]), layout.to_ids(codes)
    steps = n_frames * layout.n_codebooks  # later steps of the part wait for more frames
    assert np.array_equal(part[:steps], whole[:steps])


@given(st.integers(1, 6), st.integers(0, 9), st.data())
def test_grids(n: int, n_frames: int, data: st.DataObject) -> None:
    delays = data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    layout = Delay(n, 300, delays)
    codes = random_codes(layout, 2, n_frames)
    grid = layout.to_grid(codes)
    assert grid.shape == (2, n, layout.steps(n_frames))
    assert grid.dtype == np.uint16
    assert np.array_equal(layout.from_grid(grid), codes)
    for q, delay in enumerate(delays):
        if n_frames:
            assert np.array_equal(grid[:, q, delay : delay + n_frames], codes[:, q])
            assert (grid[:, q, :delay] == 300).all()
            assert (grid[:, q, delay + n_frames :] == 300).all()


def test_the_smallest_dtype_that_holds_the_ids() -> None:
    assert Flat(1, 255).dtype == np.uint8
    assert Flat(1, 256).dtype == np.uint16
    assert Flat(63, 1024).dtype == np.uint16
    assert Flat(64, 1024).dtype == np.uint32
    with pytest.raises(LayoutError):
        smallest_dtype((1 << 32) + 1)


def test_ids_of_another_level_are_refused() -> None:
    layout = Flat(2, 16)
    ids = layout.to_ids([[1, 2], [3, 4]])
    ids[3] = 5
    with pytest.raises(LayoutError, match="position 3 is not of level 1"):
        layout.from_ids(ids)
    with pytest.raises(LayoutError, match="position 0"):
        layout.from_ids(np.full(4, layout.mask))


@pytest.mark.parametrize(
    "codes",
    [[[1.0], [2.0]], [1, 2], [[1], [2], [3]], [[-1], [0]], [[16], [0]]],
    ids=str,
)
def test_codes_that_do_not_fit(codes: Any) -> None:
    with pytest.raises(LayoutError):
        Flat(2, 16).to_ids(codes)


@pytest.mark.parametrize("length", [-1, 10**9, 1.5, "3", None])
def test_lengths_that_no_sequence_has(length: Any) -> None:
    for owner in (Flat(2, 16).frame_of, Flat(2, 16).level_of):
        with pytest.raises(LayoutError, match="places"):
            owner(length)


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "braid", "n_codebooks": 2},
        {"name": "flat", "n_codebooks": 0},
        {"name": "flat", "n_codebooks": "2"},
        {"name": "parallel", "n_codebooks": 1.5},
        {"name": "flat", "n_codebooks": 2, "codebook_size": 1},
        {"name": "flat", "n_codebooks": 2, "delays": [0, 1]},
        {"name": "delay", "n_codebooks": 2, "delays": [0]},
        {"name": "delay", "n_codebooks": 2, "delays": [0, -1]},
        {"name": "coarse_first", "n_codebooks": 3, "groups": [1, 1]},
        {"name": "coarse_first", "n_codebooks": 3, "groups": [3, 0]},
        {"name": "coarse_first", "n_codebooks": 4, "groups": 4},
        {"name": "coarse_first", "n_codebooks": 3, "groups": "abc"},
        {"name": "delay", "n_codebooks": 2, "delays": [0, 0.5]},
        {"name": "delay", "n_codebooks": 2, "delays": [None, 0]},
        {"name": ["flat"], "n_codebooks": 2},
    ],
    ids=str,
)
def test_layouts_that_cannot_be(arguments: dict[str, Any]) -> None:
    with pytest.raises(LayoutError):
        make_layout(**arguments)


def test_no_ids_are_no_frames() -> None:
    assert Flat(3, 16).from_ids([]).shape == (3, 0)
