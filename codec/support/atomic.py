"""Files that are there whole or not at all: written aside, flushed to disk, renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

from codec.errors import OutputError


def check_writable(target: Path, *, overwrite: bool) -> None:
    """Raises OutputError if `target` is in the way, before any work is done for it."""
    if target.is_dir():
        raise OutputError("the output is a folder")
    if os.path.lexists(target):
        # Renaming over a device or pipe would replace it by a plain file.
        if target.exists() and not target.is_file():
            raise OutputError("the output is not a regular file; use - to write to a pipe")
        if not overwrite:
            raise OutputError("the output exists; --force overwrites it")
    folder = target.absolute().parent
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(f"{folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder} cannot be written to")


@contextlib.contextmanager
def replacing(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A path beside `target` to write to, renamed to `target` when the block ends well.

    Folders that are missing are made. On any exception, KeyboardInterrupt too, the file aside and
    the folders made for it are removed, and `target` is what it was. Raises OutputError if
    `target` exists and `overwrite` is false.
    """
    check_writable(target, overwrite=overwrite)
    aside = target.with_name(f".codec-{secrets.token_hex(8)}.part")
    try:
        with _folders:
            _make_folders(target.parent)
            # Exclusive: a name that someone else has, or a link planted there, is not written to.
            aside.open("xb").close()
        yield aside
        _flush(aside)
        check_writable(target, overwrite=overwrite)
        aside.replace(target)
    except BaseException:
        with _folders:
            aside.unlink(missing_ok=True)
            _remove_folders(target.parent)
        raise
    if os.name == "posix":
        _flush(target.parent)


# Folders that this process made, whichever thread: the last of those that fail clears them away.
_made: set[Path] = set()
_folders = threading.Lock()


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
