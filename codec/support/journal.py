"""Records of finished work, so that a run that was killed goes on where it stopped."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from codec.errors import OutputError

Record = dict[str, Any]


class Journal:
    """A file of records, one JSON object a line, each on disk when `add` returns.

    Opening the file reads its records up to the first line that is not whole, as the last one may
    be after a kill, and cuts off what follows. With a header, records that follow another header
    are dropped: they are of another run.

    Raises OutputError if another process has the journal open.
    """

    def __init__(self, path: Path, header: Record | None = None) -> None:
        self.records: list[Record] = []
        self._ends: list[int] = []  # byte offsets behind the header and each record
        self._file = path.open("a+b")
        try:
            lock(self._file, path.parent)
            self._read(None if header is None else _line(header))
        except BaseException:
            self._file.close()
            raise

    def _read(self, header: bytes | None) -> None:
        self._file.seek(0)
        if header is None or self._file.readline() == header:
            self._ends.append(len(header or b""))
            for line in self._file:
                try:
                    record = json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b"\n") or not isinstance(record, dict):
                    break
                self.records.append(record)
                self._ends.append(self._ends[-1] + len(line))
            self.keep(len(self.records))
        else:
            self._file.truncate(0)
            write_through(self._file, header)
            self._ends.append(len(header))

    def keep(self, count: int) -> None:
        """Drop all records but the first `count`."""
        del self.records[count:], self._ends[count + 1 :]
        self._file.truncate(self._ends[-1])

    def add(self, record: Record) -> None:
        """Append a record and flush it to disk."""
        line = _line(record)
        write_through(self._file, line)
        self.records.append(record)
        self._ends.append(self._ends[-1] + len(line))

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder` for one process. Raises OutputError if another one holds it."""
    with (folder / ".lock").open("w") as file:
        lock(file, folder)
        yield


def lock(file: IO[Any], folder: Path) -> None:
    """Lock an open file until it is closed. Raises OutputError if another process holds it.

    The lock ends with its process, so a kill leaves nothing to clean up. Without fcntl (Windows)
    there is no lock. folder: what the error names.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(f"{folder}: another process works on it") from None


def write_through(file: IO[bytes], data: bytes = b"") -> None:
    """Write `data` and flush the file to disk."""
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def _line(record: Record) -> bytes:
    return json.dumps(record, allow_nan=False).encode() + b"\n"
