"""What is to be tokenised: files, folders, globs and manifests become one sorted list of items."""

from __future__ import annotations

import csv
import dataclasses
import glob
import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codec.audio import READ_SUFFIXES
from codec.errors import DataError

MANIFEST_SUFFIXES = frozenset((".tsv", ".jsonl", ".parquet"))


@dataclasses.dataclass(frozen=True)
class Item:
    """A file, or a stretch of one.

    name: the path below the source it came from, with "/" on every system: the same wherever the
        corpus lies. duration: in seconds, None to the end. columns: what a manifest says besides.
    """

    name: str
    path: Path
    offset: float = 0.0
    duration: float | None = None
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def key(self) -> tuple[str, float, float]:
        """What orders items, and tells them apart."""
        return self.name, self.offset, math.inf if self.duration is None else self.duration

    def identity(self) -> str:
        """One line that changes whenever the rows made of this item may."""
        try:
            size = self.path.stat().st_size
        except OSError:
            size = -1
        columns = dict(sorted(self.columns.items()))
        return json.dumps([self.name, self.offset, self.duration, size, columns])


def find_items(sources: Sequence[str]) -> list[Item]:
    """The items of `sources`, sorted by `Item.key`.

    Of a folder: all audio files below it, by suffix, hidden ones left out. Of a manifest (.tsv with
    a header, .jsonl, .parquet): a row an item, with a column `path`, relative to the manifest, and
    maybe `offset`, `duration`, both in seconds, and others, which are kept. Any other name, and
    what a glob matches, is a file. Raises DataError if a source is not there or two items cannot
    be told apart.
    """
    items = sorted((item for source in sources for item in _items(source)), key=lambda i: i.key)
    if not items:
        raise DataError(f"no audio in {', '.join(sources)}")
    for one, other in itertools.pairwise(items):
        if one.key == other.key:
            raise DataError(f"{one.name}: two inputs have this name and offset")
    return items


def _items(source: str) -> Iterator[Item]:
    path = Path(source)
    if path.is_dir():
        for folder, folders, files in os.walk(path):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for file in files:
                found = Path(folder, file)
                if found.suffix.lower() in READ_SUFFIXES and not file.startswith("."):
                    yield Item(found.relative_to(path).as_posix(), found)
    elif path.is_file():
        if path.suffix.lower() in MANIFEST_SUFFIXES:
            yield from _manifest(path)
        else:
            yield Item(path.name, path)
    else:
        matches = glob.glob(source, recursive=True)  # noqa: PTH207 (absolute patterns too)
        if not matches:
            raise DataError(f"{source}: no such file or folder")
        for match in matches:
            yield from _items(match)


def _manifest(manifest: Path) -> Iterator[Item]:
    for number, row in enumerate(_rows(manifest), 1):
        where = f"{manifest}: row {number}"
        name = row.pop("path", None)
        if not isinstance(name, str) or not name:
            raise DataError(f"{where} has no path")
        offset = _seconds(row.pop("offset", None), where) or 0.0
        duration = _seconds(row.pop("duration", None), where)
        if duration == 0:
            raise DataError(f"{where} has a duration of 0 s")
        columns = {key: _text(value) for key, value in row.items() if value is not None}
        if Path(name).is_absolute():  # which a shard must not hold
            name = os.path.relpath(name, manifest.parent.absolute())
        yield Item(Path(name).as_posix(), manifest.parent / name, offset, duration, columns)


def _rows(manifest: Path) -> Iterator[dict[str, Any]]:
    try:
        if manifest.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            yield from pq.read_table(manifest).to_pylist()
        elif manifest.suffix.lower() == ".tsv":
            with manifest.open(newline="", encoding="utf-8") as file:
                # A quote in a transcript is a quote: tsv has no quoting.
                for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                    if None in row or None in row.values():
                        raise ValueError("a row has not as many fields as the header")
                    yield dict(row)
        else:
            for line in manifest.read_text("utf-8").split("\n"):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError("a line is not an object")
                    yield row
    except (ValueError, csv.Error) as error:
        raise DataError(f"{manifest}: {error}") from None


def _seconds(value: object, where: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise DataError(f"{where}: {value!r} is not a time in seconds")
    return seconds


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
