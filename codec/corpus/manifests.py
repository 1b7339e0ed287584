"""Manifests: tables with a row an item."""

from __future__ import annotations

import codecs
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from codec.corpus.items import Item, seconds, texts
from codec.corpus.places import LocalFile, Place, RemoteFile, is_url
from codec.errors import DataError, MissingPackageError
from codec.support.terminal import shown

MANIFEST_SUFFIXES = frozenset((".tsv", ".jsonl", ".parquet"))


def manifest_items(
    manifest: str, data: bytes, beside: Callable[[str], tuple[str, Place]]
) -> Iterator[Item]:
    """Read the items of a .tsv with a header, .jsonl or .parquet with a column `path`.

    `offset` and `duration`, in seconds, pick a stretch; other columns are kept. beside: the name
    and place of a path as the manifest spells it.
    """
    for number, row in enumerate(_rows(manifest, data), 1):
        where = f"{manifest}: row {number}"
        path = _path(row, where)
        offset = seconds(row.pop("offset", None), where) or 0.0
        duration = seconds(row.pop("duration", None), where)
        if duration == 0:
            raise DataError(f"{where} has a duration of 0 s")
        name, place = beside(path)
        yield Item(name, place, offset, duration, texts(row), where)


def _path(row: dict[str, Any], where: str) -> str:
    """Take the path out of a row. Raises DataError."""
    columns = ", ".join(map(shown, row))
    path = row.pop("path", None)
    if path is None or path == "":
        raise DataError(f"{where} has no path; its columns are {columns}")
    if not isinstance(path, str):
        raise DataError(f"{where}: its path is not text: {path!r}")
    if "\0" in path:
        raise DataError(f"{where} has a path with a zero byte")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise DataError(f"{where} has a path that can be no file name: {shown(path)}") from None
    return path


def beside_file(manifest: Path) -> Callable[[str], tuple[str, Place]]:
    """Resolve the paths of a manifest on a disk: below its folder, absolute, or URLs."""
    folder = Path(os.path.realpath(manifest.parent))

    def place(path: str) -> tuple[str, Place]:
        if is_url(path):
            return _of_url(path)
        name = path
        if Path(path).is_absolute():  # which a shard must not hold
            real = Path(os.path.realpath(Path(path).parent), Path(path).name)
            name = os.path.relpath(real, folder)
        return Path(name).as_posix(), LocalFile(folder / path)

    return place


def beside_url(manifest: str) -> Callable[[str], tuple[str, Place]]:
    """Resolve the paths of a manifest in storage: below its folder, or URLs."""
    folder = manifest.rpartition("/")[0]

    def place(path: str) -> tuple[str, Place]:
        return _of_url(path) if is_url(path) else (path, RemoteFile(f"{folder}/{path}"))

    return place


def _of_url(url: str) -> tuple[str, Place]:
    return url.partition("://")[2].lstrip("/"), RemoteFile(url)


def _rows(manifest: str, data: bytes) -> Iterator[dict[str, Any]]:
    suffix = Path(manifest).suffix.lower()
    rows = {".parquet": _parquet, ".tsv": _tsv}.get(suffix, _json_lines)
    try:
        yield from rows(data)
    except ValueError as error:
        raise DataError(f"{manifest}: {error}") from None
    except ModuleNotFoundError:
        raise MissingPackageError(
            f"{manifest}: Parquet needs pyarrow: pip install 'codec[corpus]'"
        ) from None


def _parquet(data: bytes) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    _check_names(table.column_names)
    yield from table.to_pylist()


def _tsv(data: bytes) -> Iterator[dict[str, Any]]:
    # A quote in a transcript is a quote: tsv has no quoting.
    lines = io.StringIO(_text(data), newline=None)
    names = next(lines, "").rstrip("\n").split("\t")
    _check_names(names)
    number = 0
    for line_number, line in enumerate(lines, 2):
        if line == "\n":
            continue
        number += 1
        fields = line.rstrip("\n").split("\t")
        if len(fields) != len(names):
            counts = f"{len(fields)} fields, the header {len(names)}"
            raise ValueError(f"row {number} (line {line_number}) has {counts}")
        yield dict(zip(names, fields, strict=True))


def _json_lines(data: bytes) -> Iterator[dict[str, Any]]:
    number = 0
    for line_number, line in enumerate(_text(data).split("\n"), 1):
        if not line.strip():
            continue
        number += 1
        try:
            row = json.loads(line, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"row {number} (line {line_number}): {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"row {number} (line {line_number}) is not an object")
        yield row


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _check_names([name for name, _ in pairs])
    return dict(pairs)


def _check_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the column {twice[0]!r} occurs twice")


def _text(data: bytes) -> str:
    """Decode UTF-8 or, with a byte order mark, UTF-16; keep bytes that are neither."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-8-sig", "surrogateescape")
