"""What is to be tokenised: files, folders, globs, manifests, tars and Hugging Face datasets, on
disks or in storage, become one sorted list of items."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from codec.audio import READ_SUFFIXES
from codec.audio.folders import find_audio, passed_over
from codec.corpus.archives import ARCHIVE_SUFFIXES, tar_items
from codec.corpus.hub import PREFIX, hub_items
from codec.corpus.items import Item
from codec.corpus.manifests import MANIFEST_SUFFIXES, beside_file, beside_url, manifest_items
from codec.corpus.places import (
    NOT_AUDIO,
    LocalFile,
    Place,
    Refused,
    RemoteFile,
    file_system,
    is_url,
    patiently,
    version_of,
)
from codec.errors import DataError
from codec.support.terminal import shown
from codec.support.walk import special


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What sources hold. others: the names of the files in them that are not audio."""

    items: list[Item]
    others: list[PurePosixPath]


def find_items(sources: Sequence[str]) -> list[Item]:
    """Return the items of `find_inputs`."""
    return find_inputs(sources).items


def find_inputs(sources: Sequence[str]) -> Inputs:
    """Find the items of `sources`, sorted by `Item.key`, and the files that are not audio.

    Of a folder: all audio files below it, by suffix or by content, hidden ones left out; in
    storage, by suffix. Of a manifest (.tsv with
    a header, .jsonl, .parquet): a row an item, with a column `path`, relative to the manifest, and
    maybe `offset`, `duration`, both in seconds, and others, which are kept. Of a .tar: its audio
    files (WebDataset). Any other name, and what a glob matches, is a file. All of these may be
    URLs that fsspec knows (s3://bucket/speech/*.tar). "hf:NAME" is a Hugging Face dataset, see
    `codec.corpus.hub.parse`. The same stretch of the same file counts once, with the columns of a
    manifest if there are any. Raises DataError if a source is not there, two files have one name,
    or two rows of one stretch have other columns.
    """
    found = [item for source in sources for item in _items(source)]
    found.sort(key=lambda item: (item.key, item.raw != item.name, not item.columns))
    items = [item for item in found if item.place != NOT_AUDIO]
    others = [PurePosixPath(item.name) for item in found if item.place == NOT_AUDIO]
    if not items:
        more = f": {passed_over(others)}" if others else ""
        raise DataError(f"no audio in {', '.join(map(shown, sources))}{more}")
    return Inputs(list(_told_apart(items)), others)


def _told_apart(items: Sequence[Item]) -> Iterator[Item]:
    """Return `items` without repeats of the same stretch of the same file.

    An escaped name that another file has as it is, is refused. Raises DataError on two files of one
    name.
    """
    kept: Item | None = None
    for item in items:
        if isinstance(item.place, Refused) or kept is None or item.key != kept.key:
            kept = kept if isinstance(item.place, Refused) else item
            yield item
        elif _same(item.place, kept.place) and item.columns in ({}, kept.columns):
            first = f" as {kept.where}" if kept.where else ""
            reason = f"the same input{first} once more{f' in {item.where}' if item.where else ''}"
            yield dataclasses.replace(item, place=Refused(reason, lost=False))
        elif item.raw != kept.raw:
            reason = "another input has this name, in which bytes that are not UTF-8 are escaped"
            yield dataclasses.replace(item, place=Refused(reason))
        else:
            more = " and other columns" if _same(item.place, kept.place) else ""
            where = " and ".join(one.where for one in (kept, item) if one.where)
            raise DataError(
                f"{shown(item.name)}: two inputs have this name and offset{more}"
                f"{f' ({where})' if where else ''}"
            )


def _same(one: Place, other: Place) -> bool:
    if isinstance(one, LocalFile) and isinstance(other, LocalFile):
        return os.path.realpath(one.path) == os.path.realpath(other.path)
    return one == other


def absolute(source: str) -> str:
    """Return `source` in a form that holds in any working folder."""
    if source.startswith(PREFIX):
        name, mark, query = source.removeprefix(PREFIX).partition("?")
        return PREFIX + (str(Path(name).absolute()) if Path(name).exists() else name) + mark + query
    return source if is_url(source) else str(Path(source).absolute())


def _items(source: str) -> Iterator[Item]:
    if source.startswith(PREFIX):
        yield from hub_items(source)
        return
    if is_url(source):
        yield from _remote_items(source)
        return
    path = Path(source)
    if path.is_dir():
        audio, others = find_audio(path)
        for found in audio:
            place = Refused(found.trouble, found.lost) if found.trouble else LocalFile(found.path)
            yield Item(found.path.relative_to(path).as_posix(), place)
        for other in others:
            yield Item(other.relative_to(path).as_posix(), NOT_AUDIO)
    elif os.path.lexists(path):
        if kind := special(path):
            raise DataError(f"{shown(source)}: {kind}, not a file")
        yield from _file_items(path)
    else:
        matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 (absolute patterns too)
        if not matches:
            raise DataError(f"{shown(source)}: no such file or folder")
        for match in matches:
            yield from _match_items(Path(match))


def _file_items(path: Path) -> Iterator[Item]:
    suffix = path.suffix.lower()
    if suffix in MANIFEST_SUFFIXES:
        yield from manifest_items(shown(path), path.read_bytes(), beside_file(path))
    elif suffix in ARCHIVE_SUFFIXES:
        yield from tar_items(path.name, LocalFile(path))
    else:
        check_kind(path.name)
        yield Item(path.name, LocalFile(path))


def _match_items(path: Path) -> Iterator[Item]:
    """Find what a glob matches. A file among it that is not audio does not end the run."""
    try:
        kind = special(path)
        if not kind:
            yield from _items(str(path))
    except FileNotFoundError:
        yield Item(path.name, Refused("a link that leads nowhere"))
    except (OSError, DataError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        yield Item(path.name, Refused(reason))
    else:
        if kind:
            yield Item(path.name, Refused(f"{kind}, not a regular file: skipped", lost=False))


def check_kind(name: str) -> None:
    """Raise DataError if the file `name` is a table or an archive of a kind that is not read."""
    if name.lower().endswith(_NOT_AUDIO):
        known = ", ".join(sorted((*MANIFEST_SUFFIXES, *ARCHIVE_SUFFIXES)))
        raise DataError(f"{shown(name)}: not a manifest that I know; there are {known}")


# fmt: off
_NOT_AUDIO = (
    ".arrow", ".bz2", ".csv", ".feather", ".gz", ".h5", ".hdf5", ".html", ".json", ".json5", ".lst",
    ".lz4", ".md", ".ndjson", ".npy", ".npz", ".ods", ".orc", ".pkl", ".psv", ".rar", ".scp",
    ".tab", ".tbz2", ".tfrecord", ".tgz", ".tlst", ".toml", ".txt", ".txz", ".xls", ".xlsx", ".xml",
    ".xz", ".yaml", ".yml", ".zip", ".zst", ".7z",
)
# fmt: on


def _remote_items(source: str) -> Iterator[Item]:
    if source.startswith(("http://", "https://")):  # which has no folders
        yield from _remote_file(PurePosixPath(urlsplit(source).path).name, RemoteFile(source))
        return
    system, path = file_system(source)
    if glob.has_magic(path):
        found = patiently(source, lambda: system.glob(path, detail=True))
    else:
        found = patiently(source, lambda: system.find(path, detail=True))
    if not found:
        raise DataError(f"{source}: no such file or folder")
    for match, info in sorted(found.items()):
        if info["type"] != "file":
            continue
        url, size = system.unstrip_protocol(match), int(info.get("size") or -1)
        place = RemoteFile(url, size, version_of(info))
        below = match.removeprefix(path.rstrip("/")).lstrip("/")
        if glob.has_magic(path) or not below:  # a file that the user named
            yield from _remote_file(PurePosixPath(match).name, place)
        elif not any(part.startswith(".") for part in below.split("/")):
            yield Item(below, place if _is_audio(below) else NOT_AUDIO)


def _remote_file(name: str, place: RemoteFile) -> Iterator[Item]:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in MANIFEST_SUFFIXES:
        with place.opened() as file:
            data = patiently(place.url, file.read)
        yield from manifest_items(place.url, data, beside_url(place.url))
    elif suffix in ARCHIVE_SUFFIXES:
        yield from tar_items(name, place)
    else:
        check_kind(name)
        yield Item(name, place)


def _is_audio(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in READ_SUFFIXES
