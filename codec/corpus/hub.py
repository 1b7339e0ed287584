"""Hugging Face datasets with a column of audio as sources."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qsl

from codec.corpus.items import Item, texts
from codec.corpus.places import LocalFile, RemoteFile, is_url
from codec.errors import DataError

PREFIX = "hf:"


@dataclasses.dataclass(frozen=True)
class HubDataset:
    """A dataset of the hub or of a folder, and which of its columns is audio ("" if it has but
    one)."""

    name: str
    config: str = ""
    split: str = ""  # "train", or the only one of a saved dataset
    column: str = ""
    revision: str = ""


@dataclasses.dataclass(frozen=True)
class DatasetRow:
    """The audio of a row. length: in bytes, -1 if the row only names its place. changed: the
    version of the file that the row names, or of a dataset that was saved to a folder."""

    dataset: HubDataset
    row: int
    length: int = -1
    changed: str = dataclasses.field(default="", compare=False)

    def size(self) -> int:
        return self.length

    def version(self) -> str:
        return self.changed

    @contextlib.contextmanager
    def reading(self) -> Iterator[Path | BinaryIO]:
        table, column = _opened(self.dataset)
        audio = table[self.row][column]
        if audio is None:
            raise OSError("the row has no audio")
        data, path = audio.get("bytes"), audio.get("path")
        if data is not None:
            yield io.BytesIO(data)
            return
        if not path:
            raise OSError("the row has no audio")
        place = RemoteFile(path) if is_url(path) else LocalFile(Path(path))
        with place.reading() as source:
            yield source


def parse(source: str) -> HubDataset:
    """ "hf:NAME?config=C&split=S&column=A&revision=R", all but the name optional."""
    name, _, query = source.removeprefix(PREFIX).partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = {field.name for field in dataclasses.fields(HubDataset)} - {"name"}
    if unknown := sorted(options.keys() - known):
        raise DataError(f"{source}: no such option: {', '.join(unknown)}")
    if not name:
        raise DataError(f"{source}: no dataset is named")
    return HubDataset(name, **options)


def hub_items(source: str) -> Iterator[Item]:
    """Make an item of each row, "NAME/split/00000012"; keep the other columns."""
    dataset = parse(source)
    table, column = _opened(dataset)
    sizes = _sizes(table, column)
    base = dataset.name.rstrip("/")
    base = Path(base).name if Path(base).exists() else base
    split = dataset.split or str(table.split or "train")
    saved = _saved_version(Path(dataset.name), split)
    stem = "/".join(filter(None, (base, dataset.config, split)))
    others = table.select_columns(
        [name for name in table.column_names if not _is_audio(table, name)]
    )
    for row in range(len(table)):
        yield Item(
            f"{stem}/{row:08}",
            DatasetRow(dataset, row, sizes[row][0], sizes[row][1] or saved),
            columns=texts(others[row] if others.column_names else {}),
        )


@functools.lru_cache(maxsize=8)
def _opened(dataset: HubDataset) -> tuple[Any, str]:
    try:
        import datasets
    except ImportError:
        raise DataError("Hugging Face datasets need: pip install datasets") from None
    name = f"{PREFIX}{dataset.name}"
    saved = any(Path(dataset.name, file).exists() for file in ("state.json", "dataset_dict.json"))
    if saved and (dataset.config or dataset.revision):
        raise DataError(f"{name}: a dataset saved to disk has no config and no revision")
    try:
        if Path(dataset.name, "state.json").exists():
            table = datasets.load_from_disk(dataset.name)
            held = str(table.split or "train")
            if dataset.split not in ("", held):
                raise DataError(f"there is no split {dataset.split}; it was saved as {held}")
        elif Path(dataset.name, "dataset_dict.json").exists():
            tables = datasets.load_from_disk(dataset.name)
            split = dataset.split or (next(iter(tables)) if len(tables) == 1 else "train")
            if split not in tables:
                raise DataError(f"there is no split {split}; there are {', '.join(tables)}")
            table = tables[split]
        else:
            table = datasets.load_dataset(
                dataset.name,
                dataset.config or None,
                split=dataset.split or "train",
                revision=dataset.revision or None,
            )
    except Exception as error:  # the library has dozens of exceptions, some of them built-in ones
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{name}: {reason}") from None
    column = dataset.column or _only_audio(table, dataset)
    if column not in table.column_names:
        there = ", ".join(table.column_names)
        raise DataError(f"{name}: there is no column {column}; there are {there}")
    if not _is_audio(table, column) and not _names_audio(table, column):
        raise DataError(f"{name}: the column {column} is not audio")
    return table.cast_column(column, datasets.Audio(decode=False)), column


def _names_audio(table: Any, column: str) -> bool:
    """Tell whether a column without the type Audio holds audio, or names its place."""
    first = next((value for value in table[column] if value is not None), None)
    if isinstance(first, dict):
        return "bytes" in first or "path" in first
    return isinstance(first, str) and (is_url(first) or Path(first).is_file())


def _is_audio(table: Any, column: str) -> bool:
    return type(table.features[column]).__name__ == "Audio"


def _only_audio(table: Any, dataset: HubDataset) -> str:
    columns: list[str] = [name for name in table.column_names if _is_audio(table, name)]
    if len(columns) != 1:
        held = ", ".join(columns) or "none of " + ", ".join(table.column_names)
        raise DataError(f"{PREFIX}{dataset.name}: which column is audio? {held}; say column=")
    return columns[0]


def _sizes(table: Any, column: str) -> list[tuple[int, str]]:
    """Return the size of each row's audio in bytes, without reading it, and the version of the
    file that holds it, "" if the row does."""
    import pyarrow.compute as pc

    lengths = pc.binary_length(pc.struct_field(table.data.column(column), "bytes")).to_pylist()
    paths = pc.struct_field(table.data.column(column), "path").to_pylist()
    return [
        (size, "") if size is not None else _file(LocalFile(Path(path))) if path else (-1, "")
        for size, path in zip(lengths, paths, strict=True)
    ]


def _file(place: LocalFile) -> tuple[int, str]:
    return place.size(), place.version()


def _saved_version(folder: Path, split: str) -> str:
    """Return the fingerprint of a dataset that was saved to a folder, "" for any other.

    A dataset of the hub has its revision instead, and its files may be fetched again at any time.
    """
    for file in (folder / "state.json", folder / split / "state.json"):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return str(json.loads(file.read_text()).get("_fingerprint", ""))
    return ""
