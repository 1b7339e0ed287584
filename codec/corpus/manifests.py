"""Manifests: tables with a row an item."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from codec.corpus.items import Item, seconds, texts
from codec.corpus.places import LocalFile, Place, RemoteFile, is_url
from codec.errors import DataError

MANIFEST_SUFFIXES = frozenset((".tsv", ".jsonl", ".parquet"))


def manifest_items(
    manifest: str, data: bytes, beside: Callable[[str], tuple[str, Place]]
) -> Iterator[Item]:
    """The items of a .tsv with a header, .jsonl or .parquet with a column `path`.

    `offset` and `duration`, in seconds, pick a stretch; other columns are kept. beside: the name
    and place of a path as the manifest spells it.
    """
    for number, row in enumerate(_rows(manifest, data), 1):
        where = f"{manifest}: row {number}"
        path = row.pop("path", None)
        if not isinstance(path, str) or not path:
            raise DataError(f"{where} has no path")
        offset = seconds(row.pop("offset", None), where) or 0.0
        duration = seconds(row.pop("duration", None), where)
        if duration == 0:
            raise DataError(f"{where} has a duration of 0 s")
        name, place = beside(path)
        yield Item(name, place, offset, duration, texts(row))


def beside_file(manifest: Path) -> Callable[[str], tuple[str, Place]]:
    """Paths as a manifest on a disk means them: below its folder, absolute, or URLs."""

    def place(path: str) -> tuple[str, Place]:
        if is_url(path):
            return _of_url(path)
        name = path
        if Path(path).is_absolute():  # which a shard must not hold
            name = os.path.relpath(path, manifest.parent.absolute())
        return Path(name).as_posix(), LocalFile(manifest.parent / name)

    return place


def beside_url(manifest: str) -> Callable[[str], tuple[str, Place]]:
    """Paths as a manifest in storage means them: below its folder, or URLs."""
    folder = manifest.rpartition("/")[0]

    def place(path: str) -> tuple[str, Place]:
        return _of_url(path) if is_url(path) else (path, RemoteFile(f"{folder}/{path}"))

    return place


def _of_url(url: str) -> tuple[str, Place]:
    return url.partition("://")[2].lstrip("/"), RemoteFile(url)


def _rows(manifest: str, data: bytes) -> Iterator[dict[str, Any]]:
    suffix = Path(manifest).suffix.lower()
    try:
        if suffix == ".parquet":
            import pyarrow.parquet as pq

            yield from pq.read_table(io.BytesIO(data)).to_pylist()
        elif suffix == ".tsv":
            # A quote in a transcript is a quote: tsv has no quoting.
            lines = io.StringIO(data.decode("utf-8"), newline="")
            for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
                if None in row or None in row.values():
                    raise ValueError("a row has not as many fields as the header")
                yield dict(row)
        else:
            for line in data.decode("utf-8").split("\n"):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError("a line is not an object")
                    yield row
    except (ValueError, csv.Error) as error:
        raise DataError(f"{manifest}: {error}") from None
