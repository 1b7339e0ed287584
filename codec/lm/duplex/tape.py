"""Keep what arrives piece by piece, so that a stretch of it costs no more than the stretch."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Scalar = TypeVar("Scalar", bound=np.generic)

BLOCK_BYTES = 1 << 15  # small enough that the allocator keeps the memory of a block for the next


class Tape(Generic[Scalar]):
    """An array that grows at the end of its last axis, and may be forgotten from its beginning.

    It lies in blocks of one size, which never move: appending copies what is appended, reading
    copies what is read, however long the tape is. A list of the pieces would have to be walked
    through to read from it, and an array that doubles would copy all of it now and then.

    dtype: of its entries. rows: the axes before the last.
    """

    def __init__(self, dtype: type[Scalar], *rows: int) -> None:
        self._dtype, self._rows = dtype, rows
        column = np.dtype(dtype).itemsize * int(np.prod(rows, dtype=np.int64))
        self._size = max(1, BLOCK_BYTES // max(1, column))
        self._blocks: deque[npt.NDArray[Scalar]] = deque()
        self._dropped = 0  # blocks that were forgotten
        self._first = self._length = 0

    def __len__(self) -> int:
        """How many places were appended; those that were forgotten count."""
        return self._length

    def append(self, piece: npt.NDArray[Scalar]) -> None:
        """Copy `piece` [*rows, n], n >= 0, of the tape's dtype, to the end."""
        at, count = 0, piece.shape[-1]
        while at < count:
            number, place = divmod(self._length, self._size)
            if number == self._dropped + len(self._blocks):
                self._blocks.append(np.empty((*self._rows, self._size), self._dtype))
            part = piece[..., at : at + self._size - place]
            block = self._blocks[number - self._dropped]
            block[..., place : place + part.shape[-1]] = part
            at += part.shape[-1]
            self._length += part.shape[-1]

    def read(self, start: int, stop: int) -> npt.NDArray[Scalar]:
        """Return a contiguous copy of the places from `start` to `stop`, [*rows, n].

        Both are at least 0; like a slice, it ends where the tape does. Raises IndexError if some
        of it was forgotten.
        """
        stop = min(stop, self._length)
        found = np.empty((*self._rows, max(0, stop - start)), self._dtype)
        if start < stop and start < self._first:
            raise IndexError(f"{start} was forgotten: the tape begins at {self._first}")
        at = start
        while at < stop:
            number, place = divmod(at, self._size)
            part = self._blocks[number - self._dropped][..., place : place + stop - at]
            found[..., at - start : at - start + part.shape[-1]] = part
            at += part.shape[-1]
        return found

    def forget(self, before: int) -> None:
        """Drop the places before `before`, at most all that there are."""
        self._first = max(self._first, min(before, self._length))
        while self._blocks and (self._dropped + 1) * self._size <= self._first:
            self._blocks.popleft()
            self._dropped += 1
