"""Reads the card of a finished run: what its shards hold, and how they were made."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from codec.errors import DataError
from codec.lm.layouts import Layout, make_layout

CARD_NAME = "dataset.json"
_SUFFIXES = {"bin": ".bin", "parquet": ".parquet"}


@dataclasses.dataclass(frozen=True)
class TokenCard:
    """What the card of a run says of its tokens.

    fields: all of the card. layout: None if the shards hold codes that are not laid out.
    codebook_size: of codes that are not laid out. rows: in all shards. paths: of the shards, in
        order; of "bin" without their indices.
    """

    fields: Mapping[str, Any]
    layout: Layout | None
    n_codebooks: int
    codebook_size: int
    frame_rate: float
    dtype: np.dtype[Any]
    rows: int
    hash: str
    paths: list[Path]


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card of the run in `folder`. Raises DataError if it is missing or damaged."""
    path = folder / CARD_NAME
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise DataError(f"{folder}: not a finished run: there is no {CARD_NAME}") from None
    except (ValueError, RecursionError):
        raise damaged(folder) from None
    if not isinstance(card, dict):
        raise damaged(folder)
    return card


def read_token_card(folder: Path) -> TokenCard:
    """Return the card of a run that made tokens as Parquet or bin, whose shards are all there.

    Raises DataError on any other folder, and where a shard has another size than the card says.
    """
    fields = read_card(folder)
    if "latent_dim" in fields:
        raise DataError(f"{folder} holds latents, not tokens")
    try:
        suffix = _SUFFIXES.get(fields["format"])
        layout, sizes = fields["layout"], fields["shards"]
        card = TokenCard(
            fields=fields,
            layout=None if layout == "none" else make_layout(**layout),
            n_codebooks=int(fields["n_codebooks"]),
            codebook_size=int(fields["vocabulary"]),
            frame_rate=float(fields["frame_rate"]),
            dtype=np.dtype(fields["dtype"]),
            rows=int(fields["rows"]),
            hash=str(fields["hash"]),
            paths=[folder / "data" / name for name in sorted(sizes) if Path(name).suffix == suffix],
        )
        expected = {str(name): int(said["bytes"]) for name, said in sizes.items()}
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise damaged(folder) from None
    if suffix is None:
        raise DataError(f"{folder} is {fields['format']}: read it by its own library")
    for name, size in expected.items():
        try:
            found = (folder / "data" / name).stat().st_size
        except (OSError, ValueError):
            raise DataError(f"{folder}: {name} is missing") from None
        if found != size:
            raise DataError(f"{folder}: {name} is damaged: {found} bytes, not {size}")
    return card


def damaged(folder: Path) -> DataError:
    """Make the error that says that the card is damaged."""
    return DataError(f"{folder / CARD_NAME} is damaged")


def damaged_shards(folder: Path, error: Exception) -> DataError:
    """Make the error that says that shards cannot be read, and why."""
    return DataError(f"{folder} is damaged: {' '.join(str(error).split())}")
