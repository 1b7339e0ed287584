"""Text and audio in one vocabulary and one sequence, told apart again from the ids alone.

    0 ... text_size - 1    the text tokenizer's own ids, untouched
    text_size ...          special tokens, in the order of `SPECIALS`
    then                   time digits, `TIME_BASE` of them
    then                   audio: id q K + c of the layout for code c of level q

A sequence is made of segments, one after another:

    text     [time] id id id ...
    audio    audio_begin [time] ids of the layout   audio_end | interrupt | (the sequence stops)

where [time] is the special token `time` and two digits, the frame at which the segment starts; a
segment without it starts where the one before it ends, text taking no time. Audio goes last in the
vocabulary, so that more codebooks never move the other ids.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from codec.errors import LayoutError
from codec.lm.layouts import Ids, Layout, make_layout, smallest_dtype
from codec.support.arguments import as_array, real, shown, single, whole
from codec.support.types import Codes

SPECIALS = ("audio_begin", "audio_end", "interrupt", "time", "mask", "pad", "turn")
TIME_BASE = 1024
TIME_DIGITS = 2  # up to frame 2^20: 11.6 hours at 25 frames a second

End = Literal["whole", "interrupted", "open"]


@dataclasses.dataclass(frozen=True, eq=False)
class Text:
    """Ids of the text tokenizer, int64 [n], n at least 1."""

    ids: npt.NDArray[np.int64]
    start: int | None = None  # frame

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Text)
            and self.start == other.start
            and np.array_equal(self.ids, other.ids)
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Audio:
    """Codes uint16 [codebooks, frames]; frames may be 0.

    end: "whole"; "interrupted" by whoever listens; or "open", the last of a sequence that goes on.
    """

    codes: Codes
    start: int | None = None  # frame
    end: End = "whole"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Audio)
            and (self.start, self.end) == (other.start, other.end)
            and np.array_equal(self.codes, other.codes)
        )


@dataclasses.dataclass(frozen=True)
class Turn:
    """The other side speaks from here on."""


Segment = Text | Audio | Turn


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Ids of a text tokenizer with `text_size` ids, and of audio in `layout`.

    frame_rate: of the codes, in Hz, for time in seconds. Raises LayoutError if the numbers make no
    sense.
    """

    text_size: int
    layout: Layout
    frame_rate: float = 25.0

    def __post_init__(self) -> None:
        text_size = whole(self.text_size, "the number of text ids", LayoutError)
        frame_rate = real(self.frame_rate, "the frame rate", LayoutError)
        if text_size < 0 or not 0 < frame_rate < float("inf"):
            raise LayoutError(f"{text_size} text ids at {frame_rate} frames a second")
        if not isinstance(self.layout, Layout):
            raise LayoutError(f"a layout is made by make_layout, not {shown(self.layout)}")
        object.__setattr__(self, "text_size", text_size)  # frozen from here on
        object.__setattr__(self, "frame_rate", frame_rate)
        smallest_dtype(self.size)

    @property
    def size(self) -> int:
        """Ids in all."""
        return self.audio_start + self.layout.mask

    @property
    def digit_start(self) -> int:
        """The id of time digit 0."""
        return self.text_size + len(SPECIALS)

    @property
    def audio_start(self) -> int:
        """The id of code 0 of level 0."""
        return self.digit_start + TIME_BASE

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest that holds all ids."""
        return smallest_dtype(self.size)

    def special(self, name: str) -> int:
        """The id of one of `SPECIALS`."""
        return self.text_size + SPECIALS.index(name)

    def level_range(self, level: int) -> range:
        """The ids of a level's codes."""
        size = self.layout.codebook_size
        if not 0 <= level < self.layout.n_codebooks:
            raise LayoutError(f"there is no level {level}")
        return range(self.audio_start + level * size, self.audio_start + (level + 1) * size)

    def seconds(self, frame: int) -> float:
        return frame / self.frame_rate

    def frame(self, seconds: float) -> int:
        """The frame that begins nearest to `seconds`."""
        return round(seconds * self.frame_rate)

    def tokens(self) -> list[str]:
        """Names of the ids from `text_size` on, for a tokenizer to add in this order."""
        size, levels = self.layout.codebook_size, self.layout.n_codebooks
        return [
            *(f"<|{name}|>" for name in SPECIALS),
            *(f"<|time_{digit}|>" for digit in range(TIME_BASE)),
            *(f"<|audio_{level}_{code}|>" for level in range(levels) for code in range(size)),
        ]

    def audio_ids(self, codes: npt.ArrayLike) -> Ids:
        """`layout.to_ids` in this vocabulary, its mask as the special token."""
        return self._shifted(self.layout.to_ids(codes))

    def _segment_ids(self, codes: npt.ArrayLike) -> Ids:
        """`audio_ids` of one stream, [levels, frames], or [1, levels, frames] as of Tokens."""
        try:
            array = single(as_array(codes))
        except ValueError as error:
            raise LayoutError(f"codes are no array: {error}") from None
        if array.ndim != 2:
            raise LayoutError(f"a segment's codes are [levels, frames], not {list(array.shape)}")
        return self.audio_ids(array)

    def encode(self, segments: Iterable[Segment]) -> Ids:
        """One sequence of all segments, in the smallest dtype that holds all ids.

        Text that follows text must have a start: without one the two would be read as one. Raises
        LayoutError on that, on empty text, an "open" segment that is not the last, a start that two
        digits cannot say, or ids and codes out of range.
        """
        if isinstance(segments, Text | Audio | Turn):
            raise LayoutError("encode takes a list of segments, not one")
        parts: list[npt.NDArray[np.int64]] = []
        before: Segment | None = None
        for segment in segments:
            if isinstance(before, Audio) and before.end == "open":
                raise LayoutError("only the last segment can be open")
            if isinstance(segment, Turn):
                parts.append(np.array([self.special("turn")]))
            elif isinstance(segment, Text):
                ids = _text_ids(segment.ids)
                if not 0 <= int(ids.min()) <= int(ids.max()) < self.text_size:
                    raise LayoutError(f"text ids are 0 to {self.text_size - 1}")
                if isinstance(before, Text) and segment.start is None:
                    raise LayoutError("text that follows text needs a start")
                parts += [self._stamp(segment.start), ids]
            elif not isinstance(segment, Audio):
                raise LayoutError(f"a segment is Text, Audio or Turn, not {shown(segment)}")
            else:
                end = {"whole": ["audio_end"], "interrupted": ["interrupt"], "open": []}
                if not isinstance(segment.end, str) or segment.end not in end:
                    raise LayoutError(f"audio does not end {shown(segment.end)}")
                parts += [
                    np.array([self.special("audio_begin")]),
                    self._stamp(segment.start),
                    self._segment_ids(segment.codes).astype(np.int64),
                    np.array([self.special(name) for name in end[segment.end]], np.int64),
                ]
            before = segment
        return np.concatenate([np.zeros(0, np.int64), *parts]).astype(self.dtype)

    def decode(self, ids: npt.ArrayLike, *, strict: bool = True) -> list[Segment]:
        """Inverse of `encode`; `pad` is skipped between segments.

        Of audio that was cut short, the complete frames. What no vocabulary would write (a model
        may) raises LayoutError with its position; with strict=False it is skipped: audio keeps the
        frames before the first wrong id, and ids that stand nowhere are dropped.
        """
        try:
            array = as_array(ids)
        except ValueError as error:
            raise LayoutError(f"no array of ids: {error}") from None
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise LayoutError(f"ids are integers [length], not {array.dtype} {list(array.shape)}")
        return list(_Reader(self, array.astype(np.int64), strict))

    def to_json(self) -> str:
        fields = {
            "text_size": self.text_size,
            "layout": self.layout.describe(),
            "frame_rate": self.frame_rate,
        }
        return json.dumps(fields, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """Inverse of `to_json`. Raises LayoutError."""
        try:
            fields = json.loads(text)
            layout = make_layout(**fields.pop("layout"))
            return cls(layout=layout, **fields)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise LayoutError(f"not a vocabulary: {error}") from None

    def _shifted(self, ids: Ids) -> Ids:
        wide = ids.astype(np.int64)
        shifted = np.where(wide == self.layout.mask, self.special("mask"), wide + self.audio_start)
        return shifted.astype(self.dtype)

    def _stamp(self, start: int | None) -> npt.NDArray[np.int64]:
        if start is None:
            return np.zeros(0, np.int64)
        frame = whole(start, "a start", LayoutError)
        if not 0 <= frame < TIME_BASE**TIME_DIGITS:
            raise LayoutError(f"a start at frame {frame} is out of range")
        digits = divmod(frame, TIME_BASE)
        return np.array([self.special("time"), *(self.digit_start + d for d in digits)])


def _text_ids(ids: Any) -> npt.NDArray[np.int64]:
    try:
        array = as_array(ids)
    except ValueError as error:
        raise LayoutError(f"text is no array of ids: {error}") from None
    if array.ndim != 1 or not len(array):
        raise LayoutError("text is one id or more")
    if array.dtype.kind not in "iu":
        raise LayoutError(f"text ids are integers, not {array.dtype}")
    return array.astype(np.int64)


class _Reader:
    """One pass over a sequence."""

    def __init__(self, vocabulary: Vocabulary, ids: npt.NDArray[np.int64], strict: bool) -> None:
        self.v, self.ids, self.strict, self.at = vocabulary, ids, strict, 0

    def __iter__(self) -> Any:
        special = self.v.special
        while self.at < len(self.ids):
            first = int(self.ids[self.at])
            if first == special("pad"):
                self.at += 1
            elif first == special("turn"):
                self.at += 1
                yield Turn()
            elif first == special("audio_begin"):
                self.at += 1
                yield self.audio()
            elif first == special("time") or 0 <= first < self.v.text_size:
                start = self.stamp()
                text = self.take(0, self.v.text_size)
                if len(text):
                    yield Text(text, start)
                else:
                    self.wrong("a time that nothing follows")
            else:
                self.wrong(f"id {first} stands where a segment begins")
                self.at += 1

    def wrong(self, reason: str) -> None:
        if self.strict:
            raise LayoutError(f"position {self.at}: {reason}")

    def take(self, low: int, high: int) -> npt.NDArray[np.int64]:
        """The run of ids from here on that are within [low, high)."""
        rest = self.ids[self.at :]
        outside = np.nonzero((rest < low) | (rest >= high))[0]
        run = rest[: int(outside[0]) if len(outside) else len(rest)]
        self.at += len(run)
        return run

    def stamp(self) -> int | None:
        if self.at >= len(self.ids) or self.ids[self.at] != self.v.special("time"):
            return None
        digits = self.ids[self.at + 1 : self.at + 1 + TIME_DIGITS] - self.v.digit_start
        if len(digits) < TIME_DIGITS or not ((digits >= 0) & (digits < TIME_BASE)).all():
            self.wrong("a time without its digits")
            self.at += 1
            self.take(self.v.digit_start, self.v.audio_start)
            return None
        self.at += 1 + TIME_DIGITS
        return int(digits[0]) * TIME_BASE + int(digits[1])

    def audio(self) -> Audio:
        v, layout = self.v, self.v.layout
        start, first = self.stamp(), self.at
        rest = self.ids[self.at :]
        mask = v.special("mask")
        outside = np.nonzero(((rest < v.audio_start) | (rest >= v.size)) & (rest != mask))[0]
        run = rest[: int(outside[0]) if len(outside) else len(rest)]
        self.at += len(run)
        ids = np.where(run == mask, layout.mask, run - v.audio_start)
        codes = self.codes(ids, first)
        follows = int(self.ids[self.at]) if self.at < len(self.ids) else None
        ends: dict[int | None, End] = {
            v.special("audio_end"): "whole",
            v.special("interrupt"): "interrupted",
            None: "open",
        }
        if follows in ends:
            self.at += follows is not None
            return Audio(codes, start, ends[follows])
        self.wrong("audio without its end")
        return Audio(codes, start, "interrupted")

    def codes(self, ids: npt.NDArray[np.int64], first: int) -> Codes:
        layout = self.v.layout
        try:
            return layout.from_ids(ids)
        except LayoutError as error:
            if self.strict:
                raise LayoutError(f"audio from position {first} on: {error}") from None
        # The longest prefix that the layout reads; none of a frame after the first wrong id.
        low, high = 0, len(ids)
        while low < high:
            middle = (low + high + 1) // 2
            try:
                layout.from_ids(ids[:middle])
                low = middle
            except LayoutError:
                high = middle - 1
        return layout.from_ids(ids[:low])


def timeline(segments: Sequence[Segment], vocabulary: Vocabulary) -> list[tuple[float, Segment]]:
    """Segments with the seconds at which they start: said by their stamps, or else where the
    segment before ends."""
    result, now = [], 0
    for segment in segments:
        if not isinstance(segment, Turn) and segment.start is not None:
            now = segment.start
        result.append((vocabulary.seconds(now), segment))
        if isinstance(segment, Audio):
            now += segment.codes.shape[1]
    return result
