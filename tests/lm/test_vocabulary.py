"""Text and audio in one sequence come apart again: whole, interrupted, cut, and damaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import LayoutError
from codec.lm.layouts import CoarseFirst, Delay, Flat, Layout, Parallel
from codec.lm.vocabulary import (
    SPECIALS,
    TIME_BASE,
    Audio,
    Segment,
    Text,
    Turn,
    Vocabulary,
    timeline,
)

LAYOUTS = (Flat(3, 16), Delay(3, 16), Delay(3, 16, (0, 2, 2)), Parallel(2, 16), CoarseFirst(3, 16))
STARTS = st.none() | st.integers(0, TIME_BASE**2 - 1)


def codes(layout: Layout, frames: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, layout.codebook_size, (layout.n_codebooks, frames)).astype(np.uint16)


@st.composite
def conversations(draw: st.DrawFn, layout: Layout) -> list[Segment]:
    segments: list[Segment] = []
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["text", "audio", "turn"]))
        if kind == "turn":
            segments.append(Turn())
        elif kind == "text":
            ids = np.array(draw(st.lists(st.integers(0, 99), min_size=1, max_size=5)))
            start = draw(STARTS)
            if segments and isinstance(segments[-1], Text):
                start = start or 0
            segments.append(Text(ids, start))
        else:
            audio = codes(layout, draw(st.integers(0, 4)), draw(st.integers(0, 99)))
            end = draw(st.sampled_from(["whole", "interrupted"]))
            segments.append(Audio(audio, draw(STARTS), end))  # type: ignore[arg-type]
    return segments


@given(st.sampled_from(LAYOUTS).flatmap(lambda lay: st.tuples(st.just(lay), conversations(lay))))
def test_round_trip(drawn: tuple[Layout, list[Segment]]) -> None:
    layout, segments = drawn
    vocabulary = Vocabulary(100, layout)
    ids = vocabulary.encode(segments)
    assert ids.dtype == vocabulary.dtype
    assert vocabulary.decode(ids) == segments
    assert vocabulary.decode(ids, strict=False) == segments
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary


@given(
    st.sampled_from(LAYOUTS[:4]).flatmap(lambda lay: st.tuples(st.just(lay), conversations(lay))),
    st.data(),
)
def test_a_reply_cut_anywhere_keeps_what_came_before(
    drawn: tuple[Layout, list[Segment]], data: st.DataObject
) -> None:
    layout, segments = drawn
    vocabulary = Vocabulary(100, layout)
    ids = vocabulary.encode(segments)
    cut = data.draw(st.integers(0, len(ids)))
    found = vocabulary.decode(ids[:cut], strict=False)
    for i, (part, whole) in enumerate(zip(found, segments, strict=False)):
        if i < len(found) - 1 or cut == len(ids):
            assert part == whole
        elif isinstance(part, Audio):
            assert isinstance(whole, Audio)
            frames = part.codes.shape[1]
            assert np.array_equal(part.codes, whole.codes[:, :frames])
            assert part.end in ("open", whole.end)
        elif isinstance(part, Text):
            assert isinstance(whole, Text)
            assert np.array_equal(part.ids, whole.ids[: len(part.ids)])
    if found and isinstance(found[-1], Audio) and found[-1].end == "open":
        assert vocabulary.decode(vocabulary.encode(found)) == found


@given(st.lists(st.integers(0, 1200), max_size=40), st.sampled_from(LAYOUTS))
def test_any_ids_are_read_or_refused(ids: list[int], layout: Layout) -> None:
    vocabulary = Vocabulary(100, layout)
    tolerant = vocabulary.decode(np.array(ids, np.int64), strict=False)
    assert all(isinstance(segment, Text | Audio | Turn) for segment in tolerant)
    try:
        strict = vocabulary.decode(np.array(ids, np.int64))
    except LayoutError:
        return
    assert strict == tolerant


def test_ranges_do_not_meet() -> None:
    vocabulary = Vocabulary(50_257, Flat(24, 1024))
    ids = [
        range(vocabulary.text_size),
        *(range(i, i + 1) for i in map(vocabulary.special, SPECIALS)),
        range(vocabulary.digit_start, vocabulary.digit_start + TIME_BASE),
        *(vocabulary.level_range(q) for q in range(24)),
    ]
    assert [i for part in ids for i in part] == list(range(vocabulary.size))
    assert len(vocabulary.tokens()) == vocabulary.size - vocabulary.text_size
    assert len(set(vocabulary.tokens())) == len(vocabulary.tokens())
    assert vocabulary.dtype == np.uint32
    assert Vocabulary(1000, Flat(24, 1024)).dtype == np.uint16


def test_more_codebooks_move_no_id() -> None:
    few, many = Vocabulary(100, Flat(2, 16)), Vocabulary(100, Flat(3, 16))
    assert few.level_range(1) == many.level_range(1)
    assert few.special("turn") == many.special("turn")


def test_timeline() -> None:
    layout = Flat(3, 16)
    vocabulary = Vocabulary(100, layout, frame_rate=25.0)
    segments = [
        Audio(codes(layout, 50, 0)),
        Text(np.array([1, 2])),
        Turn(),
        Audio(codes(layout, 5, 1), start=vocabulary.frame(4.0), end="interrupted"),
        Text(np.array([3])),
    ]
    found = timeline(vocabulary.decode(vocabulary.encode(segments)), vocabulary)
    assert [seconds for seconds, _ in found] == [0.0, 2.0, 2.0, 4.0, 4.2]
    assert [segment for _, segment in found] == segments


def test_codes_may_be_as_tokens_hold_them() -> None:
    vocabulary = Vocabulary(10, Flat(2, 16))
    codes = np.arange(8).reshape(2, 4)
    assert np.array_equal(
        vocabulary.encode([Audio(codes[None])]), vocabulary.encode([Audio(codes)])
    )
    with pytest.raises(LayoutError, match=r"\[levels, frames\], not \[2, 2, 4\]"):
        vocabulary.encode([Audio(np.stack([codes, codes]))])
    with pytest.raises(LayoutError, match="a list of segments, not one"):
        vocabulary.encode(Text(np.array([1])))  # type: ignore[arg-type]


def test_padding_between_segments_is_skipped() -> None:
    vocabulary = Vocabulary(100, Flat(3, 16))
    segments = [Text(np.array([5])), Audio(codes(vocabulary.layout, 2, 0))]
    pad = np.array([vocabulary.special("pad")] * 3)
    parts = [vocabulary.encode([segment]) for segment in segments]  # type: ignore[list-item]
    assert vocabulary.decode(np.concatenate([pad, parts[0], pad, parts[1], pad])) == segments


LAYOUT = Flat(3, 16)


@pytest.mark.parametrize(
    ("segments", "reason"),
    [
        ([Text(np.zeros(0, np.int64))], "one id or more"),
        ([Text(np.array([100]))], "0 to 99"),
        ([Text(np.array([1])), Text(np.array([2]))], "needs a start"),
        ([Text(np.array([1]), TIME_BASE**2)], "out of range"),
        ([Audio(codes(LAYOUT, 1, 0), end="open"), Turn()], "only the last"),
        ([Audio(codes(LAYOUT, 1, 0)[:2])], "codes are integers"),
        ([None], "a segment is Text, Audio or Turn, not None"),
        ([Text("abc")], "one id or more"),
        ([Text(["a"])], "are integers"),
        ([Text([1.5])], "are integers"),
        ([Text([[1], [2, 3]])], "no array"),
        ([Text([1], "a")], "a start must be a whole number"),
        ([Audio(codes(LAYOUT, 1, 0), 0.5)], "a start must be a whole number"),
        ([Audio(codes(LAYOUT, 1, 0), end=[])], "does not end"),
        ([Audio([[1], [2, 3]])], "no array"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_segments_that_cannot_be_written(segments: list[Any], reason: str) -> None:
    with pytest.raises(LayoutError, match=reason):
        Vocabulary(100, LAYOUT).encode(segments)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"text_size": 1}', '{"layout": {"name": 3}}'])
def test_files_that_are_no_vocabulary(text: str) -> None:
    with pytest.raises(LayoutError):
        Vocabulary.from_json(text)


def test_numbers_that_make_no_vocabulary() -> None:
    for wrong in (("a", LAYOUT), (1.5, LAYOUT), (-1, LAYOUT), (5, "flat"), (5, LAYOUT, "a")):
        with pytest.raises(LayoutError):
            Vocabulary(*wrong)  # type: ignore[arg-type]
    for ids in ("abc", [[1], [2, 3]], [0.5]):
        with pytest.raises(LayoutError):
            Vocabulary(5, LAYOUT).decode(ids)
    layout = Flat(np.int64(3), np.int64(16))  # type: ignore[arg-type]
    ours = Vocabulary(np.int64(5), layout, np.float32(25))  # type: ignore[arg-type]
    assert ours.to_json() == Vocabulary(5, LAYOUT).to_json()


def test_a_wrong_id_is_named_by_its_place() -> None:
    vocabulary = Vocabulary(100, LAYOUT)
    ids: Any = vocabulary.encode([Text(np.array([1])), Audio(codes(LAYOUT, 3, 0))]).astype(int)
    ids[6] = vocabulary.level_range(0)[3]  # where level 1 or 2 belongs
    with pytest.raises(LayoutError, match="audio from position 2 on"):
        vocabulary.decode(ids)
    damaged = vocabulary.decode(ids, strict=False)[1]
    assert isinstance(damaged, Audio)
    assert damaged.codes.shape[1] == 1
