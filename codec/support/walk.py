"""Lists what lies below a folder: files, and entries that are no files or unreadable."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Found:
    """A file below a folder, or what stands in its place.

    trouble: why it is not taken, None for a regular file. lost: whether audio may be missed by
    that: in a folder or file that cannot be read, or behind a link that leads nowhere; a special
    file (a pipe, socket or device) is none.
    """

    path: Path
    trouble: str | None = None
    lost: bool = False


def walk(root: Path, wanted: Callable[[str], bool]) -> Iterator[Found]:
    """Find the files below `root` whose name is `wanted`, hidden files and folders left out.

    Links to folders are followed, each folder is visited once, and under its own name if it lies
    below `root`. Nothing is opened. The order is that of the names, links to folders last.
    """
    seen: set[tuple[int, int]] = set(_identities_above(root))
    links: deque[Path] = deque([root])
    while links:
        yield from _below(links.popleft(), wanted, seen, links)


def special(path: Path) -> str | None:
    """Say what `path` is if it is neither a regular file nor a folder. Raises OSError."""
    return _special(path.stat().st_mode)


def _below(
    folder: Path,
    wanted: Callable[[str], bool],
    seen: set[tuple[int, int]],
    links: deque[Path],
) -> Iterator[Found]:
    try:
        at = folder.stat()
        if (at.st_dev, at.st_ino) in seen:
            return
        seen.add((at.st_dev, at.st_ino))
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        yield Found(folder, _reason(error), lost=True)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = folder / entry.name
        try:
            mode = entry.stat().st_mode
        except FileNotFoundError:
            if entry.is_symlink():
                yield Found(path, "a link that leads nowhere", lost=True)
            continue  # removed since
        except OSError as error:  # links in a circle, a link into a folder that cannot be entered
            if entry.is_symlink() or wanted(entry.name):
                yield Found(path, _reason(error), lost=True)
            continue
        if stat.S_ISDIR(mode):
            if entry.is_symlink():
                links.append(path)
            else:
                yield from _below(path, wanted, seen, links)
        elif wanted(entry.name):
            kind = _special(mode)
            yield Found(path, f"{kind}, not a regular file: skipped" if kind else None)


def _identities_above(root: Path) -> Iterator[tuple[int, int]]:
    """Give the folders that `root` lies in: a link to one of them would lead round in a circle."""
    for folder in Path(os.path.realpath(root)).parents:
        try:
            at = folder.stat()
        except OSError:
            continue
        yield at.st_dev, at.st_ino


def _special(mode: int) -> str | None:
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
