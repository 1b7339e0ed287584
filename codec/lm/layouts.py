"""RVQ codes as one sequence of ids for a language model, and back.

Codes are [codebooks, frames], coarse to fine; a sequence has one order. With codebooks of size K,
code c of level q is the id q K + c, so that an id says its level; the first id above those, Q K, is
the mask: it fills the places that a layout leaves empty. For two levels a, b of four frames:

    flat           a0 b0 a1 b1 a2 b2 a3 b3                frame by frame
    coarse_first   a0 a1 a2 a3 b0 b1 b2 b3                level by level (AudioLM, arXiv 2209.03143)
    delay          a0 -- a1 b0 a2 b1 a3 b2 -- b3          level q comes delays[q] steps later
    parallel       [a0 b0] [a1 b1] [a2 b2] [a3 b3]        a step a frame, every level its own column

`delay` and `parallel` are also grids [codebooks, steps], of which a model predicts a column at a
time (MusicGen, arXiv 2306.05284, fig. 1; Moshi, arXiv 2410.00037). A sequence that stops early,
because its writer was interrupted, still has the codes of its complete frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import LayoutError
from codec.model.limits import MAX_CODEBOOK_SIZE, MAX_CODEBOOKS
from codec.support.arguments import as_array, shown, whole
from codec.support.types import Codes

MAX_PLACES = 1 << 28  # whose levels and frames fill 4 GiB

Ids = npt.NDArray[Any]
Positions = npt.NDArray[np.int64]


def smallest_dtype(n_ids: int) -> np.dtype[Any]:
    """The smallest of uint8, uint16 and uint32 that holds ids below `n_ids`."""
    if not 1 <= n_ids <= 1 << 32:
        raise LayoutError(f"{n_ids} ids do not fit 32 bits")
    return np.min_scalar_type(n_ids - 1)


def _places(length: Any) -> int:
    count = whole(length, "the number of places", LayoutError)
    if not 0 <= count <= MAX_PLACES:
        raise LayoutError(f"{count} places; a sequence has 0 to {MAX_PLACES}")
    return count


def _array(value: Any) -> npt.NDArray[Any]:
    try:
        array = as_array(value)
    except ValueError as error:
        raise LayoutError(f"no array of integers: {error}") from None
    return array.astype(np.int64) if isinstance(value, list) and not array.size else array


def _wholes(values: Any, name: str) -> tuple[int, ...]:
    """Convert a list of whole numbers. Raises LayoutError."""
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise LayoutError(f"{name} are a list of whole numbers, not {shown(values)}")
    return tuple(whole(value, f"each of the {name}", LayoutError) for value in values)


class Layout:
    """A fixed place in the sequence for every code. Leading axes of arrays are batches."""

    name: str

    def __init__(self, n_codebooks: int, codebook_size: int = 1024) -> None:
        count = whole(n_codebooks, "the number of codebooks", LayoutError)
        size = whole(codebook_size, "the codebook size", LayoutError)
        if not 1 <= count <= MAX_CODEBOOKS or not 2 <= size <= MAX_CODEBOOK_SIZE:
            raise LayoutError(f"{count} codebooks of {size} cannot be laid out")
        self.n_codebooks = count
        self.codebook_size = size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self.describe() == other.describe()

    def __hash__(self) -> int:
        return hash(str(self.describe()))

    def __repr__(self) -> str:
        options = ", ".join(f"{key}={value!r}" for key, value in self.describe().items())
        return f"Layout({options})"

    @property
    def mask(self) -> int:
        """The id of places without a code."""
        return self.n_codebooks * self.codebook_size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the ids: the smallest that holds them and the mask."""
        return smallest_dtype(self.mask + 1)

    def describe(self) -> dict[str, Any]:
        """What `make_layout` needs to make this layout again, as JSON can hold it."""
        return {
            "name": self.name,
            "n_codebooks": self.n_codebooks,
            "codebook_size": self.codebook_size,
        }

    def length(self, n_frames: int) -> int:
        """Ids of `n_frames` frames."""
        return n_frames * self.n_codebooks

    def positions(self, n_frames: int) -> Positions:
        """Where in the sequence each code lies: int64 [codebooks, n_frames]."""
        raise NotImplementedError

    def complete(self, ids: Ids) -> tuple[int, int]:
        """(levels, frames) whose codes a sequence, perhaps cut short, holds entirely."""
        return self.n_codebooks, ids.shape[-1] // self.n_codebooks

    def to_ids(self, codes: npt.ArrayLike) -> Ids:
        """ids [..., length(frames)] of `codes` [..., codebooks, frames]. Raises LayoutError."""
        array = self._checked(codes)
        n_frames = array.shape[-1]
        ids = np.full((*array.shape[:-2], self.length(n_frames)), self.mask, self.dtype)
        levels = np.arange(self.n_codebooks, dtype=np.int64)[:, None] * self.codebook_size
        ids[..., self.positions(n_frames).ravel()] = (array + levels).reshape(*array.shape[:-2], -1)
        return ids

    def from_ids(self, ids: npt.ArrayLike) -> Codes:
        """codes uint16 [..., codebooks, frames] of `ids` [..., length].

        Of a sequence that stops early: its complete frames, and in `coarse_first` its complete
        levels. Raises LayoutError where an id is not of the level that its place is for.
        """
        array = _array(ids)
        if array.ndim < 1 or array.dtype.kind not in "iu":
            raise LayoutError(f"ids are integers [..., length], not {array.dtype}")
        levels, n_frames = self.complete(array)
        places = self.positions(n_frames)[:levels]
        inside = places < array.shape[-1]
        found = array[..., np.where(inside, places, 0)].astype(np.int64)
        found -= np.arange(levels, dtype=np.int64)[:, None] * self.codebook_size
        wrong = (found < 0) | (found >= self.codebook_size)
        if wrong.any():
            *_, level, frame = (int(axis[0]) for axis in np.nonzero(wrong))
            raise LayoutError(f"the id at position {places[level, frame]} is not of level {level}")
        return found.astype(np.uint16)

    def frame_of(self, length: int) -> Positions:
        """The frame of each of the first `length` places, int64 [length]; -1 where none has one.

        Raises LayoutError on a length below 0 or beyond 2^28.
        """
        return self._owners(_places(length))[1]

    def level_of(self, length: int) -> Positions:
        """The level of each of the first `length` places, int64 [length]; -1 where none has one.

        Raises LayoutError on a length below 0 or beyond 2^28.
        """
        return self._owners(_places(length))[0]

    def _owners(self, length: int) -> tuple[Positions, Positions]:
        # enough frames to cover every place: a step has one place a level, and none comes early
        places = self.positions(-(-length // self.n_codebooks))
        level, frame = np.nonzero(places < length)
        owners = np.full((2, length), -1, np.int64)
        owners[:, places[level, frame]] = level, frame
        return owners[0], owners[1]

    def _checked(self, codes: npt.ArrayLike) -> npt.NDArray[np.int64]:
        array = _array(codes)
        if array.ndim < 2 or array.dtype.kind not in "iu" or array.shape[-2] != self.n_codebooks:
            raise LayoutError(
                f"codes are integers [..., {self.n_codebooks}, frames], "
                f"not {array.dtype} {list(array.shape)}"
            )
        if array.size and not 0 <= int(array.min()) <= int(array.max()) < self.codebook_size:
            raise LayoutError(f"codes are 0 to {self.codebook_size - 1}")
        return array.astype(np.int64)


class Flat(Layout):
    """Frame by frame, coarse to fine in each: the ids of a prefix are a prefix."""

    name = "flat"

    def positions(self, n_frames: int) -> Positions:
        frame, level = np.arange(n_frames), np.arange(self.n_codebooks)
        return frame[None, :] * self.n_codebooks + level[:, None]


class CoarseFirst(Layout):
    """Group of levels after group of levels, each frame by frame.

    groups: sizes that sum to the number of codebooks; by default every level is a group. AudioLM's
    coarse and fine stages (arXiv 2209.03143, fig. 2) over 12 levels are groups of (4, 8).
    """

    name = "coarse_first"

    def __init__(
        self, n_codebooks: int, codebook_size: int = 1024, groups: Sequence[int] | None = None
    ) -> None:
        super().__init__(n_codebooks, codebook_size)
        self.groups = (1,) * self.n_codebooks if groups is None else _wholes(groups, "groups")
        if min(self.groups, default=0) < 1 or sum(self.groups) != self.n_codebooks:
            raise LayoutError(f"groups of {self.groups} do not make {n_codebooks} codebooks")

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "groups": list(self.groups)}

    def positions(self, n_frames: int) -> Positions:
        size = np.repeat(self.groups, self.groups)
        first = np.repeat(np.cumsum(self.groups) - self.groups, self.groups)
        level = np.arange(self.n_codebooks)
        frame = np.arange(n_frames)
        places: Positions = (first * n_frames + level - first)[:, None] + frame * size[:, None]
        return places

    def complete(self, ids: Ids) -> tuple[int, int]:
        # The first group ends where an id is of a level beyond it.
        length, first = ids.shape[-1], self.groups[0]
        if not length:
            return self.n_codebooks, 0
        row = ids.reshape(-1, length)[0] if ids.size else ids.reshape(-1)[:0]
        beyond = np.nonzero(row >= first * self.codebook_size)[0]
        if not len(beyond):
            return first, length // first
        frames = int(beyond[0]) // first
        ends = np.cumsum(self.groups)
        return int(ends[ends * frames <= length].max(initial=first)), frames

    def _owners(self, length: int) -> tuple[Positions, Positions]:
        raise LayoutError("where a level begins depends on the frames: use positions(n_frames)")


class Delay(Layout):
    """A step a frame, in which level q has the code of delays[q] steps before.

    delays: one for each level, 0 or more; by default level q waits q steps (MusicGen's pattern).
    The sequence has one place for every level in every step; those before a level's first code
    and after its last hold the mask.
    """

    name = "delay"

    def __init__(
        self, n_codebooks: int, codebook_size: int = 1024, delays: Sequence[int] | None = None
    ) -> None:
        super().__init__(n_codebooks, codebook_size)
        self.delays = (
            tuple(range(self.n_codebooks)) if delays is None else _wholes(delays, "delays")
        )
        if len(self.delays) != self.n_codebooks or min(self.delays) < 0:
            raise LayoutError(f"delays of {self.delays} are not for {n_codebooks} codebooks")

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "delays": list(self.delays)}

    def steps(self, n_frames: int) -> int:
        """Steps of `n_frames` frames."""
        return n_frames + max(self.delays) if n_frames else 0

    def length(self, n_frames: int) -> int:
        return self.steps(n_frames) * self.n_codebooks

    def positions(self, n_frames: int) -> Positions:
        step = np.arange(n_frames)[None, :] + np.array(self.delays, np.int64)[:, None]
        return step * self.n_codebooks + np.arange(self.n_codebooks)[:, None]

    def complete(self, ids: Ids) -> tuple[int, int]:
        # The last level of a frame to come is the one with the longest delay, the highest of those.
        last = max(q for q in range(self.n_codebooks) if self.delays[q] == max(self.delays))
        before = max(self.delays) * self.n_codebooks + last
        return self.n_codebooks, max(0, -(-(ids.shape[-1] - before) // self.n_codebooks))

    def to_grid(self, codes: npt.ArrayLike) -> npt.NDArray[Any]:
        """[..., codebooks, steps]: codes without the offset of their level, codebook_size where a
        step has none of the level, in the smallest dtype."""
        ids = self.to_ids(codes)
        grid = ids.reshape(*ids.shape[:-1], -1, self.n_codebooks).swapaxes(-1, -2)
        levels = np.arange(self.n_codebooks, dtype=np.int64)[:, None] * self.codebook_size
        plain = np.where(grid == self.mask, self.codebook_size, grid.astype(np.int64) - levels)
        return plain.astype(smallest_dtype(self.codebook_size + 1))

    def from_grid(self, grid: npt.ArrayLike) -> Codes:
        """Inverse of `to_grid`; of a grid that stops early, its complete frames."""
        array = _array(grid)
        if array.ndim < 2 or array.shape[-2] != self.n_codebooks or array.dtype.kind not in "iu":
            raise LayoutError(f"a grid is integers [..., {self.n_codebooks}, steps]")
        levels = np.arange(self.n_codebooks, dtype=np.int64)[:, None] * self.codebook_size
        empty = (array < 0) | (array >= self.codebook_size)
        ids = np.where(empty, self.mask, array.astype(np.int64) + levels).swapaxes(-1, -2)
        return self.from_ids(ids.reshape(*array.shape[:-2], -1))


class Parallel(Delay):
    """`Delay` without delays: all levels of a frame in one step."""

    name = "parallel"

    def __init__(self, n_codebooks: int, codebook_size: int = 1024) -> None:
        super().__init__(
            n_codebooks,
            codebook_size,
            [0] * whole(n_codebooks, "the number of codebooks", LayoutError),
        )

    def describe(self) -> dict[str, Any]:
        return Layout.describe(self)


LAYOUTS: Mapping[str, type[Layout]] = {
    layout.name: layout for layout in (Flat, CoarseFirst, Delay, Parallel)
}


def make_layout(name: str, n_codebooks: int, codebook_size: int = 1024, **options: Any) -> Layout:
    """The layout of that name; options: `groups` of coarse_first, `delays` of delay.

    Raises LayoutError on an unknown name or option, or where the numbers make no sense.
    """
    if not isinstance(name, str) or name not in LAYOUTS:
        raise LayoutError(f"there is no layout {name!r}; there are {', '.join(LAYOUTS)}")
    try:
        return LAYOUTS[name](n_codebooks, codebook_size, **options)
    except TypeError:
        raise LayoutError(f"the layout {name} does not take {', '.join(options)}") from None
