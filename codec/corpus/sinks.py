"""Rows as files of a shard. The same rows give the same bytes: no times, no machine's paths."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codec.corpus.rows import Row

Writer = Callable[[Sequence[Row], Sequence[str], "np.dtype[Any]", Path], None]

ROW_GROUP = 256  # rows


def write_parquet(
    rows: Sequence[Row], columns: Sequence[str], dtype: np.dtype[Any], path: Path
) -> None:
    """A table: `codes` is a list of lists, the ids of each channel."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("id", pa.string()),
            ("path", pa.string()),
            ("offset", pa.float64()),
            ("duration", pa.float64()),
            ("sample_rate", pa.int32()),
            ("channels", pa.int16()),
            ("n_frames", pa.int64()),
            ("n_codebooks", pa.int16()),
            ("codes", pa.list_(pa.list_(pa.from_numpy_dtype(dtype)))),
            *((column_name(name), pa.string()) for name in columns),
        ]
    )
    table = pa.Table.from_pylist([_record(row, columns) for row in rows], schema)
    pq.write_table(
        table,
        path,
        row_group_size=ROW_GROUP,
        compression="zstd",
        compression_level=3,
        version="2.6",
        store_schema=False,
    )


def write_ids(
    rows: Sequence[Row], columns: Sequence[str], dtype: np.dtype[Any], path: Path
) -> None:
    """All ids, little-endian, row after row, channel after channel: for `numpy.memmap`."""
    with path.open("wb") as file:
        for row in rows:
            for ids in row.ids:
                file.write(ids.astype(dtype.newbyteorder("<")).tobytes())


def write_index(
    rows: Sequence[Row], columns: Sequence[str], dtype: np.dtype[Any], path: Path
) -> None:
    """A JSON object a row: its fields, and where its ids start in the .bin and end, in ids."""
    start = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            stop = start + sum(map(len, row.ids))
            record = row.fields() | {"start": start, "stop": stop} | _carried(row, columns)
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            start = stop


def write_tar(
    rows: Sequence[Row], columns: Sequence[str], dtype: np.dtype[Any], path: Path
) -> None:
    """WebDataset: a sample is `codes.npy`, of shape [channels, ids], and `json`."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, row in enumerate(rows):
            array = io.BytesIO()
            np.save(array, np.stack(row.ids).astype(dtype.newbyteorder("<")))
            text = json.dumps(row.fields() | _carried(row, columns), ensure_ascii=False)
            for suffix, data in (("codes.npy", array.getvalue()), ("json", text.encode())):
                # WebDataset splits names at the first dot; those of files may hold any.
                member = tarfile.TarInfo(f"{number:06}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


# name -> the files of a shard, by suffix
FORMATS: Mapping[str, Mapping[str, Writer]] = {
    "parquet": {".parquet": write_parquet},
    "webdataset": {".tar": write_tar},
    "bin": {".bin": write_ids, ".jsonl": write_index},
}

# fmt: off
_OWN = frozenset((
    "id", "path", "offset", "duration", "sample_rate", "channels", "n_frames", "n_codebooks",
    "codes", "start", "stop",
))
# fmt: on


def column_name(name: str) -> str:
    """The name that a manifest's column has in a shard: its own unless that is taken."""
    return f"source_{name}" if name in _OWN else name


def _carried(row: Row, columns: Sequence[str]) -> dict[str, str | None]:
    return {column_name(name): row.item.columns.get(name) for name in columns}


def _record(row: Row, columns: Sequence[str]) -> dict[str, Any]:
    return row.fields() | {"codes": row.ids} | _carried(row, columns)
