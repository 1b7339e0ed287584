"""The bytes of a file: views that do not read it whole, and new files made of its parts."""

from __future__ import annotations

import bisect
import io
import itertools
from collections.abc import Sequence
from typing import BinaryIO

from codec.support.file_bytes import WINDOW, FileBytes, descriptor

Part = bytes | tuple[int, int]  # bytes, or (start, end) in a file
Bytes = bytes | FileBytes

_IN_MEMORY = 64 << 20


def content(file: BinaryIO) -> Bytes:
    """Return all bytes of a seekable `file`: read at once if they are few.

    The file must stay open. Raises OSError.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size > _IN_MEMORY and (number := descriptor(file)) is not None:
        return FileBytes(number)
    return file.read()


def check_unchanged(data: Bytes) -> None:
    """Raise the OSError that happened where nobody could see it: in a decoder's call for bytes."""
    if isinstance(data, FileBytes) and data.problem:
        raise data.problem


def only_zeros(data: Bytes, start: int) -> bool:
    """Tell whether `data` holds nothing but zeros from `start` on."""
    blocks = (data[at : at + WINDOW] for at in range(start, len(data), WINDOW))
    return all(block == bytes(len(block)) for block in blocks)


class Spliced(io.RawIOBase):
    """Parts of a file and other bytes, joined to one seekable file.

    more: by how many bytes it seems longer than it is, for a decoder that would otherwise guess too
    small a number of samples, and stop there. Who reads on finds the true end; who seeks behind it,
    for a tag, zeros.
    """

    def __init__(self, data: Bytes, parts: Sequence[Part], more: int = 0) -> None:
        self._data, self._more = data, more
        # A damaged file may claim a part that ends beyond the end of the file.
        inside = (p if isinstance(p, bytes) else (p[0], min(p[1], len(data))) for p in parts)
        self._parts = [part for part in inside if self._length(part)]
        self._ends = list(itertools.accumulate(map(self._length, self._parts)))
        self._at = 0

    @staticmethod
    def _length(part: Part) -> int:
        return len(part) if isinstance(part, bytes) else max(0, part[1] - part[0])

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        size = self._ends[-1] if self._ends else 0
        size += self._more
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        size = self._ends[-1] if self._ends else 0
        if size < self._at < size + self._more:
            done = min(len(target), size + self._more - self._at)
            target[:done] = bytes(done)
            self._at += done
            return done
        done = 0
        while done < len(target):
            k = bisect.bisect_right(self._ends, self._at)
            if k == len(self._ends):
                break
            part = self._parts[k]
            into = self._at - (self._ends[k - 1] if k else 0)
            step = min(len(target) - done, self._ends[k] - self._at)
            if isinstance(part, bytes):
                target[done : done + step] = part[into : into + step]
            else:
                start = part[0] + into
                try:
                    target[done : done + step] = self._data[start : start + step]
                except OSError:  # a decoder in C does not report it: `check_unchanged` does
                    break
            done += step
            self._at += step
        return done
