"""The rows of a `codec tokenize` run, each with its codes and all its columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codec.corpus.card import damaged_shards, read_token_card
from codec.corpus.row_groups import RowGroups, parquet
from codec.errors import DataError


class TokenRows(Sequence[dict[str, Any]]):
    """The rows in the order of the shards: `rows[n]` is a dict.

    It has the row's fields ("id", "path", "offset", "duration", "n_frames", ...), the columns of
    the manifest as strings ("" where a row has none), and "codes", uint16 [channels, codebooks,
    frames].

    folder: of a finished run, as Parquet or bin. Raises DataError on anything else,
    and on a folder whose files are missing, or damaged as far as their sizes tell.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        card = read_token_card(self.folder)
        self.card, self._layout, self._dtype = card.fields, card.layout, card.dtype
        self._paths, self._groups = card.paths, RowGroups()
        try:
            self._fields = [(n, k, row) for n, path in enumerate(self._paths)
                            for k, row in enumerate(_read(path))]  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged_shards(self.folder, error) from None
        if len(self) != card.rows:
            raise DataError(f"{folder} is damaged: {len(self)} rows, not {card.rows}")

    def __len__(self) -> int:
        return len(self._fields)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        shard, place, fields = self._fields[number]
        path = self._paths[shard]
        if path.suffix == ".bin":
            ids = self._bin_ids(path, fields)
        else:
            ids = [np.asarray(channel.values) for channel in self._groups.codes(path, place)]
        codes = [self._codes(channel, int(fields["n_codebooks"])) for channel in ids]
        return {**fields, "codes": np.stack(codes)}

    def column(self, name: str) -> list[Any]:
        """Return one field or column of every row, without reading codes. Raises DataError."""
        try:
            return [fields[name] for _, _, fields in self._fields]
        except KeyError:
            raise DataError(f"{self.folder} has no column {name!r}") from None

    def _bin_ids(self, path: Path, fields: dict[str, Any]) -> list[Any]:
        dtype = self._dtype.newbyteorder("<")
        start, stop = int(fields["start"]), int(fields["stop"])
        ids = np.fromfile(path, dtype, stop - start, offset=start * dtype.itemsize)
        return list(ids.reshape(int(fields["channels"]), -1))

    def _codes(self, ids: Any, levels: int) -> Any:
        if self._layout is not None:
            return self._layout.from_ids(ids)
        return ids.reshape(-1, levels).T.astype(np.uint16)


def _read(path: Path) -> list[dict[str, Any]]:
    return _read_bin(path) if path.suffix == ".bin" else _read_parquet(path)


def _read_bin(path: Path) -> list[dict[str, Any]]:
    with path.with_suffix(".jsonl").open(encoding="utf-8") as file:
        return [_without_nulls(json.loads(line)) for line in file]


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    file = parquet().ParquetFile(path)
    names = [name for name in file.schema_arrow.names if name != "codes"]
    return [_without_nulls(row) for row in file.read(columns=names).to_pylist()]


def _without_nulls(row: dict[str, Any]) -> dict[str, Any]:
    return {name: "" if value is None else value for name, value in row.items()}
