"""Rows as files of a shard. The same rows give the same bytes: no times, no machine's paths."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from codec.corpus.rows import Row
from codec.errors import OutputError

# (rows, columns of the manifests, dtype of ids, path) -> what the index over all shards needs
Writer = Callable[[Sequence[Row], Sequence[str], "np.dtype[Any]", Path], Any]

ROW_GROUP = 256  # rows
VALUES = ("codes", "latents")  # the name of what a row holds
MDS_LIMIT = 2**32 - 1  # bytes: offsets have 32 bits


def write_parquet(
    rows: Sequence[Row], columns: Sequence[str], dtype: np.dtype[Any], path: Path
) -> None:
    """Write a table: `codes` or `latents` is a list of lists, the values of each channel."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    latents = dtype.kind == "f"
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("path", pa.string()),
            ("offset", pa.float64()),
            ("duration", pa.float64()),
            ("sample_rate", pa.int32()),
            ("channels", pa.int16()),
            ("n_frames", pa.int64()),
            ("latent_dim" if latents else "n_codebooks", pa.int16()),
            ("decoder", pa.string()),
            ("warning", pa.string()),
            (VALUES[latents], pa.list_(pa.list_(pa.from_numpy_dtype(dtype)))),
            *((name, pa.string()) for name in column_names(columns).values()),
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
    """Write all ids, little-endian, row by row, channel by channel: for `numpy.memmap`."""
    with path.open("wb") as file:
        for row in rows:
            for ids in row.ids:
                file.write(ids.astype(dtype.newbyteorder("<")).tobytes())


def write_index(
    rows: Sequence[Row], columns: Sequence[str], dtype: np.dtype[Any], path: Path
) -> None:
    """Write a JSON object for each row: its fields, and where its ids start and end in the .bin."""
    start = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            stop = start + sum(map(len, row.ids))
            record = row.fields() | {"start": start, "stop": stop} | _carried(row, columns)
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            start = stop


def write_mds(
    rows: Sequence[Row], columns: Sequence[str], dtype: np.dtype[Any], path: Path
) -> dict[str, Any] | None:
    """Write a MosaicML shard by its own writer; `codes` or `latents` is an array [channels, ids].

    What is not known is an empty string. Returns the shard's entry for the index, None if it is
    empty.
    """
    from streaming import MDSWriter

    if not rows:
        return None
    latents = dtype.kind == "f"
    fields = {
        "id": "str",
        "path": "str",
        "offset": "float64",
        "duration": "float64",
        "sample_rate": "int",
        "channels": "int",
        "n_frames": "int",
        "latent_dim" if latents else "n_codebooks": "int",
        "decoder": "str",
        "warning": "str",
        VALUES[latents]: f"ndarray:{dtype.name}",
    } | dict.fromkeys(column_names(columns).values(), "str")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "shard")
        with MDSWriter(out=str(out), columns=fields, size_limit=None) as writer:
            for row in rows:
                carried = {name: text or "" for name, text in _carried(row, columns).items()}
                writer.write(row.fields() | {VALUES[latents]: np.stack(row.ids)} | carried)
        (entry,) = json.loads((out / "index.json").read_text())["shards"]
        written = out / entry["raw_data"]["basename"]
        if written.stat().st_size > MDS_LIMIT:
            raise OutputError("a shard of MDS holds 4 GiB: use fewer --shard-items")
        shutil.copyfile(written, path)
    return dict(entry)


def mds_index(described: Mapping[str, Any]) -> dict[str, str]:
    entries = []
    for name, entry in described.items():
        if entry is not None:
            entry["raw_data"]["basename"] = name
            entries.append(entry)
    return {"index.json": json.dumps({"version": 2, "shards": entries}, sort_keys=True)}


def pyarrow_version() -> dict[str, str]:
    try:
        return {"pyarrow": metadata.version("pyarrow")}
    except metadata.PackageNotFoundError:
        raise OutputError("Parquet needs pyarrow: pip install 'codec[corpus]'") from None


def streaming_version() -> dict[str, str]:
    try:
        return {"mosaicml-streaming": metadata.version("mosaicml-streaming")}
    except metadata.PackageNotFoundError:
        raise OutputError("MDS needs mosaicml-streaming: pip install 'codec[mds]'") from None


def write_tar(
    rows: Sequence[Row], columns: Sequence[str], dtype: np.dtype[Any], path: Path
) -> None:
    """Write a WebDataset: a sample is `codes.npy` or `latents.npy`, [channels, ids], and `json`."""
    values = f"{VALUES[dtype.kind == 'f']}.npy"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, row in enumerate(rows):
            array = io.BytesIO()
            np.save(array, np.stack(row.ids).astype(dtype.newbyteorder("<")))
            text = json.dumps(row.fields() | _carried(row, columns), ensure_ascii=False)
            for suffix, data in ((values, array.getvalue()), ("json", text.encode())):
                # WebDataset splits names at the first dot, and file names may have several.
                member = tarfile.TarInfo(f"{number:06}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


@dataclasses.dataclass(frozen=True)
class Format:
    """How shards are written. files: by suffix. libraries: those that affect their bytes.
    index: files over all shards, from what the writers said of each."""

    files: Mapping[str, Writer]
    libraries: Callable[[], dict[str, str]] = dict
    index: Callable[[Mapping[str, Any]], dict[str, str]] = lambda described: {}


FORMATS: Mapping[str, Format] = {
    "parquet": Format({".parquet": write_parquet}, pyarrow_version),
    "webdataset": Format({".tar": write_tar}),
    "mds": Format({".mds": write_mds}, streaming_version, mds_index),
    "bin": Format({".bin": write_ids, ".jsonl": write_index}),
}

# fmt: off
_OWN = frozenset((
    "id", "path", "offset", "duration", "sample_rate", "channels", "n_frames", "n_codebooks",
    "decoder", "warning", "codes", "start", "stop", "latents", "latent_dim",
))
# fmt: on


def column_names(columns: Sequence[str]) -> dict[str, str]:
    """Name each column of a manifest in a shard: its own name unless that is taken."""
    names = {name: name for name in columns if name not in _OWN}
    for name in columns:
        if name in _OWN:
            free = f"source_{name}"
            while free in names.values():
                free = f"source_{free}"
            names[name] = free
    return {name: names[name] for name in columns}


def _carried(row: Row, columns: Sequence[str]) -> dict[str, str | None]:
    return {new: row.item.columns.get(name) for name, new in column_names(columns).items()}


def _record(row: Row, columns: Sequence[str]) -> dict[str, Any]:
    return row.fields() | {VALUES[row.latents]: row.ids} | _carried(row, columns)
