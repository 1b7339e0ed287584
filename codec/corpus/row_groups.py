"""Row groups of Parquet shards, of which the last few are kept decoded."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import MissingPackageError

GROUPS_KEPT = 4


class RowGroups:
    """Reads the column `codes` a row group at a time.

    What is kept belongs to this object alone: another one reads the files as they are by then.
    Pickled, it goes without what it keeps.
    """

    def __init__(self) -> None:
        self._ends = functools.cache(_ends)
        self._group = functools.lru_cache(maxsize=GROUPS_KEPT)(_group)

    def __reduce__(self) -> tuple[Any, ...]:
        return RowGroups, ()

    def codes(self, path: Path, row: int) -> Any:
        """Return the lists of ids of a row, one for each stream."""
        ends = self._ends(path)
        group = int(np.searchsorted(ends, row, "right"))
        before = int(ends[group - 1]) if group else 0
        return self._group(path, group)[row - before].values


def parquet() -> Any:
    """Return the module that reads Parquet. Raises MissingPackageError."""
    try:
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise MissingPackageError("Parquet needs pyarrow: pip install 'codec[corpus]'") from None
    return pq


def _ends(path: Path) -> npt.NDArray[np.int64]:
    held = parquet().ParquetFile(path).metadata
    return np.cumsum([held.row_group(n).num_rows for n in range(held.num_row_groups)])


def _group(path: Path, group: int) -> Any:
    table = parquet().ParquetFile(path).read_row_group(group, columns=["codes"])
    return table.column("codes").combine_chunks()
