"""The bytes of a large file, looked at as if they were in memory.

A mapped file that becomes shorter, or whose disk fails, ends the process by a signal (SIGBUS). Here
it is an OSError.
"""

from __future__ import annotations

import io
import os
import tempfile
from typing import Any, overload

WINDOW = 1 << 20  # bytes that are read at once
_SHORTER = "the file became shorter while it was read"


def descriptor(file: Any) -> int | None:
    """Return the descriptor of a plain binary `file`; None for any other object.

    A file that decompresses, say, has the descriptor of other bytes than it gives.
    """
    if isinstance(file, tempfile._TemporaryFileWrapper):  # what NamedTemporaryFile returns
        file = file.file
    raw = getattr(file, "raw", file)  # of a buffer
    return raw.fileno() if isinstance(raw, io.FileIO) else None


class FileBytes:
    """The bytes of an open file, as many as it has now: `len`, indices, slices, `find`, `rfind`.

    The file must stay open. Raises OSError if bytes cannot be read, or are no longer there; the
    first such error stays in `problem`, for those whom an exception does not reach.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._window = (0, b"")
        self.problem: OSError | None = None

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> bytes: ...

    def __getitem__(self, place: int | slice) -> int | bytes:
        if isinstance(place, slice):
            start, stop, step = place.indices(self._size)
            if step != 1:
                raise ValueError("a step other than 1")
            return self._read(start, max(start, stop))
        at = place + self._size if place < 0 else place
        if not 0 <= at < self._size:
            raise IndexError("index out of range")
        return self._read(at, at + 1)[0]

    def find(self, wanted: bytes, start: int = 0, stop: int | None = None) -> int:
        """Return where `wanted` is first in [start, stop), -1 if it is not."""
        start, stop, _ = slice(start, stop).indices(self._size)
        for at in range(start, stop, WINDOW):
            block = self._read(at, min(stop, at + WINDOW + len(wanted) - 1))
            if (found := block.find(wanted)) >= 0:
                return at + found
        return -1

    def rfind(self, wanted: bytes, start: int = 0, stop: int | None = None) -> int:
        """Return where `wanted` is last in [start, stop), -1 if it is not."""
        start, stop, _ = slice(start, stop).indices(self._size)
        while stop - start >= len(wanted):
            at = max(start, stop - max(WINDOW, 2 * len(wanted)))
            if (found := self._read(at, stop).rfind(wanted)) >= 0:
                return at + found
            if at == start:
                break
            stop = at + len(wanted) - 1
        return -1

    def _read(self, start: int, stop: int) -> bytes:
        first, window = self._window
        if first <= start and stop <= first + len(window):
            return window[start - first : stop - first]
        if stop - start >= WINDOW:
            return self._from_disk(start, stop)
        window = self._from_disk(start, min(self._size, start + WINDOW))
        self._window = (start, window)
        return window[: stop - start]

    def _from_disk(self, start: int, stop: int) -> bytes:
        parts = []
        while start < stop:
            try:
                part = os.pread(self._descriptor, stop - start, start)
                if not part:
                    raise OSError(_SHORTER)
            except OSError as error:
                self.problem = self.problem or error
                raise
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
