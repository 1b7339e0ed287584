"""Where audio lies: on a disk, in storage that fsspec reaches, in a tar.

What is not a file of its own on a disk is fetched whole before it is read: libsndfile takes an
error in the middle of a file object for the end of the audio, and would give us less, silently.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from codec.errors import DataError, MissingPackageError

T = TypeVar("T")

IN_MEMORY = 32 << 20  # bytes; longer files are fetched to a temporary file
WAITS = (1.0, 4.0)  # seconds before storage is asked again


class Place(Protocol):
    """Where an item's audio is."""

    def size(self) -> int:
        """Return the size in bytes; -1 if it is not known."""

    def version(self) -> str:
        """Return what changes when other bytes are put there; "" if nothing is known."""

    def reading(self) -> contextlib.AbstractContextManager[Path | BinaryIO]:
        """Open what `codec.audio.AudioReader` takes.

        Raises OSError if nothing can be read there, DataError if storage does not answer, which
        another run may cure.
        """


def is_url(name: str) -> bool:
    return "://" in name


def file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of `url`, and the path there. Raises DataError without it."""
    try:
        import fsspec

        return fsspec.core.url_to_fs(url)  # type: ignore[no-any-return]
    except ModuleNotFoundError as error:
        if error.name != "fsspec":
            raise DataError(f"{url}: {error}") from None
        raise MissingPackageError(f"{url}: URLs need fsspec: pip install 'codec[corpus]'") from None
    except (ImportError, ValueError) as error:
        raise DataError(f"{url}: {error}") from None


def patiently(url: str, ask: Callable[[], T]) -> T:
    """Call `ask()`, up to three times. Raises OSError if it is missing or forbidden, DataError on
    all else: whether there is audio at `url` is then unknown, and it must not count as rejected."""
    for wait in (*WAITS, None):
        try:
            return ask()
        except (FileNotFoundError, PermissionError, IsADirectoryError):
            raise
        except Exception as error:  # each storage has its own
            if wait is None:
                reason = " ".join(str(error).split()) or type(error).__name__
                raise DataError(f"{url}: cannot be fetched: {reason}") from error
            time.sleep(wait)
    raise AssertionError


def version_of(info: Mapping[str, Any]) -> str:
    """Return the version of a file in a listing of fsspec; "" if the storage tells none."""
    return next((str(info[name]) for name in _VERSIONS if info.get(name)), "")


# The names that storages use: hashes of the content first, times last.
_VERSIONS = (
    "md5Hash", "content_md5", "ETag", "etag", "generation", "mtime", "LastModified",
    "last_modified", "updated", "modified", "created",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class LocalFile:
    """A file on a disk."""

    path: Path

    def size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return -1

    def version(self) -> str:
        try:
            return str(self.path.stat().st_mtime_ns)
        except OSError:
            return ""

    @contextlib.contextmanager
    def reading(self) -> Iterator[Path | BinaryIO]:
        yield self.path

    def fetch(self, start: int, length: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    @contextlib.contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        with self.path.open("rb") as file:
            yield file


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file in storage that fsspec reaches. length: in bytes, -1 if unknown. changed: its version,
    as far as a listing of the storage says it."""

    url: str
    length: int = -1
    changed: str = dataclasses.field(default="", compare=False)

    def size(self) -> int:
        return self.length

    def version(self) -> str:
        return self.changed

    @contextlib.contextmanager
    def reading(self) -> Iterator[Path | BinaryIO]:
        system, path = file_system(self.url)
        size = self.length if self.length >= 0 else patiently(self.url, lambda: system.size(path))
        if size is not None and size <= IN_MEMORY:
            yield io.BytesIO(patiently(self.url, lambda: system.cat_file(path)))
            return
        with tempfile.TemporaryFile() as file:

            def fetch() -> None:
                file.seek(0)
                file.truncate()
                with system.open(path, "rb") as remote:
                    shutil.copyfileobj(remote, file, 1 << 20)

            patiently(self.url, fetch)
            file.seek(0)
            yield file  # type: ignore[misc]  # systems name it differently

    def fetch(self, start: int, length: int) -> bytes:
        system, path = file_system(self.url)
        return patiently(self.url, lambda: bytes(system.cat_file(path, start, start + length)))

    @contextlib.contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        system, path = file_system(self.url)
        with patiently(self.url, lambda: system.open(path, "rb")) as file:
            yield file


@dataclasses.dataclass(frozen=True)
class Member:
    """A stretch of bytes of another file: what a tar holds."""

    archive: LocalFile | RemoteFile
    start: int
    length: int

    def size(self) -> int:
        return self.length

    def version(self) -> str:
        return self.archive.version()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Path | BinaryIO]:
        data = self.archive.fetch(self.start, self.length)
        if len(data) != self.length:
            raise OSError("the archive ends before")
        yield io.BytesIO(data)


@dataclasses.dataclass(frozen=True)
class Refused:
    """No audio: what was found in its place, and why it is not read.

    lost: whether audio may be missed by that.
    """

    reason: str
    lost: bool = True

    def size(self) -> int:
        return -1

    def version(self) -> str:
        return ""

    @contextlib.contextmanager
    def reading(self) -> Iterator[Path | BinaryIO]:
        raise OSError(self.reason)
        yield  # a generator, as the others


NOT_AUDIO = Refused("not audio", lost=False)
