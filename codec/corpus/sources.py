"""What is to be tokenised: files, folders, globs, manifests, tars and Hugging Face datasets, on
disks or in storage, become one sorted list of items."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from codec.audio import READ_SUFFIXES
from codec.corpus.archives import ARCHIVE_SUFFIXES, tar_items
from codec.corpus.hub import PREFIX, hub_items
from codec.corpus.items import Item
from codec.corpus.manifests import MANIFEST_SUFFIXES, beside_file, beside_url, manifest_items
from codec.corpus.places import LocalFile, RemoteFile, file_system, is_url, patiently
from codec.errors import DataError


def find_items(sources: Sequence[str]) -> list[Item]:
    """The items of `sources`, sorted by `Item.key`.

    Of a folder: all audio files below it, by suffix, hidden ones left out. Of a manifest (.tsv with
    a header, .jsonl, .parquet): a row an item, with a column `path`, relative to the manifest, and
    maybe `offset`, `duration`, both in seconds, and others, which are kept. Of a .tar: its audio
    files (WebDataset). Any other name, and what a glob matches, is a file. All of these may be
    URLs that fsspec knows (s3://bucket/speech/*.tar). "hf:NAME" is a Hugging Face dataset, see
    `codec.corpus.hub.parse`. Raises DataError if a source is not there or two items cannot be told
    apart.
    """
    items = sorted((item for source in sources for item in _items(source)), key=lambda i: i.key)
    if not items:
        raise DataError(f"no audio in {', '.join(sources)}")
    for one, other in itertools.pairwise(items):
        if one.key == other.key:
            raise DataError(f"{one.name}: two inputs have this name and offset")
    return items


def absolute(source: str) -> str:
    """`source` as it can be said in any working folder."""
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
        for folder, folders, files in os.walk(path):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for file in files:
                found = Path(folder, file)
                if _is_audio(file):
                    yield Item(found.relative_to(path).as_posix(), LocalFile(found))
    elif path.is_file():
        suffix = path.suffix.lower()
        if suffix in MANIFEST_SUFFIXES:
            yield from manifest_items(str(path), path.read_bytes(), beside_file(path))
        elif suffix in ARCHIVE_SUFFIXES:
            yield from tar_items(path.name, LocalFile(path))
        else:
            yield Item(path.name, LocalFile(path))
    else:
        matches = glob.glob(source, recursive=True)  # noqa: PTH207 (absolute patterns too)
        if not matches:
            raise DataError(f"{source}: no such file or folder")
        for match in matches:
            yield from _items(match)


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
        place = RemoteFile(system.unstrip_protocol(match), int(info.get("size") or -1))
        below = match.removeprefix(path.rstrip("/")).lstrip("/")
        if glob.has_magic(path) or not below:  # a file that was asked for by name
            yield from _remote_file(PurePosixPath(match).name, place)
        elif _is_audio(below) and not any(part.startswith(".") for part in below.split("/")):
            yield Item(below, place)


def _remote_file(name: str, place: RemoteFile) -> Iterator[Item]:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in MANIFEST_SUFFIXES:
        with place.opened() as file:
            data = patiently(place.url, file.read)
        yield from manifest_items(place.url, data, beside_url(place.url))
    elif suffix in ARCHIVE_SUFFIXES:
        yield from tar_items(name, place)
    else:
        yield Item(name, place)


def _is_audio(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in READ_SUFFIXES and not path.name.startswith(".")
