"""Files that are complete or absent: written aside, flushed to disk, renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from codec.errors import OutputError


class OutputExistsError(OutputError):
    """An output exists, and is not to be overwritten."""


def check_writable(target: Path, *, overwrite: bool, source: Path | None = None) -> None:
    """Check before any work that `target` can be written. Raises OutputError.

    source: what is read, which must not be overwritten, also not by another spelling or a link.
    """
    if source is not None and source.exists() and target.exists() and target.samefile(source):
        raise OutputError("the output would overwrite the input")
    if target.is_dir():
        raise OutputError("the output is a folder")
    if os.path.lexists(target):
        # Renaming over a device or pipe would replace it by a plain file.
        if target.exists() and not target.is_file():
            raise OutputError("the output is not a regular file; use - to write to a pipe")
        if not overwrite:
            raise OutputExistsError("the output exists; overwrite=True replaces it")
    folder = _through_links(target).absolute().parent
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(f"{folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder} cannot be written to")


@contextlib.contextmanager
def replacing(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a path beside `target` to write to, renamed to `target` when the block succeeds.

    A link is written through: the file that it names is replaced. A file that is replaced keeps
    its mode. Folders that are missing are made. On any exception, KeyboardInterrupt too, the file
    aside and the folders made for it are removed, and `target` is what it was. Raises OutputError
    if `target` exists and `overwrite` is false.
    """
    check_writable(target, overwrite=overwrite)
    target = _through_links(target)
    aside = target.with_name(f".codec-{secrets.token_hex(8)}.part")
    try:
        with _folders:
            _make_folders(target.parent)
            _asides.add(aside)
            # Exclusive: a name that someone else has, or a link planted there, is not written to.
            aside.open("xb").close()
        with contextlib.suppress(OSError):  # there is none yet, or the disk knows no modes
            aside.chmod(stat.S_IMODE(target.stat().st_mode))
        yield aside
        _flush(aside)
        check_writable(target, overwrite=overwrite)
        aside.replace(target)
    except BaseException:
        with _folders:
            aside.unlink(missing_ok=True)
            _remove_folders(target.parent)
        raise
    finally:
        _asides.discard(aside)
    if os.name == "posix":
        # The file is there, whole. Its name may only be lost by a power failure, where the folder
        # cannot be read (a drop box) or its disk does not flush folders (FUSE, SMB).
        with contextlib.suppress(OSError):
            _flush(target.parent)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder that is removed at the end, on the disk that TMPDIR names."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="codec-") as name:
        folder = Path(name)
        _asides.add(folder)
        try:
            yield folder
        finally:
            _asides.discard(folder)


def abandon() -> None:
    """Remove every file aside and temporary folder, whoever still writes there."""
    for path in list(_asides):
        with contextlib.suppress(OSError):
            path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
            _remove_folders(path.parent)


# Folders that this process made, whichever thread: the last of those that fail clears them away.
_made: set[Path] = set()
_folders = threading.Lock()
_asides: set[Path] = set()  # what is being written now


def _through_links(target: Path) -> Path:
    return Path(os.path.realpath(target)) if target.is_symlink() else target


def _make_folders(folder: Path) -> None:
    """Make `folder` and the parents that are missing."""
    parent = folder
    while not parent.exists():
        _made.add(parent)
        parent = parent.parent
    folder.mkdir(parents=True, exist_ok=True)


def _remove_folders(folder: Path) -> None:
    """Remove `folder` and its parents as far as this process made them and nothing is in them."""
    with contextlib.suppress(OSError):
        while folder in _made:
            folder.rmdir()
            _made.discard(folder)
            folder = folder.parent


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
