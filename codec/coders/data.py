"""The data of a model's entropy coders: one safetensors file beside its weights.

    model.safetensors -> model.entropy

Its metadata name the model it was learned for. `tables.*` are the integer tables of the fast coder,
`prior.*` the network of the best one, which adds to the tables' scores.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from codec.coders.base import TABLES_ID_BYTES
from codec.errors import ModelError
from codec.model import codebooks
from codec.support.atomic import replacing

Floats = npt.NDArray[np.float32]

SUFFIX = ".entropy"
VERSION = 1
MAX_RANK = 32
MAX_CODEBOOK_SIZE = 4096
MAX_FRACTION_BITS = 12
MAX_BIAS = 1 << 24


@dataclasses.dataclass(frozen=True)
class Context:
    """A code that is known before the one at level q of frame t."""

    back: int  # frames before t: 0 or 1
    coarser: int | None  # levels above q; None for level 0, always
    beyond: int = -1  # used only for q > beyond, so no code is counted by two contexts

    def level(self, q: int) -> int | None:
        """Return its level, None if it has none."""
        level = 0 if self.coarser is None else q - self.coarser
        return level if level >= 0 and q > self.beyond else None


CONTEXTS = (
    Context(1, 0),
    Context(0, 1),
    Context(0, 2),
    Context(0, 3),
    Context(0, None, beyond=3),
    Context(1, None, beyond=0),
)


@dataclasses.dataclass(frozen=True)
class Tables:
    """Integer tables. The score of code k is 2^-fraction_bits log2 units:

    score[k] = bias[q, k] + sum over r of out[q, r, k] * (sum of embed[q, c, code, r] over c)
    """

    embed: npt.NDArray[np.int8]  # [levels, contexts, codewords, rank]
    out: npt.NDArray[np.int8]  # [levels, rank, codewords]
    bias: npt.NDArray[np.int32]  # [levels, codewords]
    fraction_bits: npt.NDArray[np.int32]  # [levels]

    def __post_init__(self) -> None:
        levels, contexts, size, rank = self.embed.shape
        if (
            self.embed.dtype != np.int8
            or self.out.dtype != np.int8
            or self.bias.dtype != np.int32
            or self.fraction_bits.dtype != np.int32
            or contexts != len(CONTEXTS)
            or self.out.shape != (levels, rank, size)
            or self.bias.shape != (levels, size)
            or self.fraction_bits.shape != (levels,)
        ):
            raise ModelError("the tables' shapes or dtypes do not fit")
        if not (1 <= rank <= MAX_RANK and 2 <= size <= MAX_CODEBOOK_SIZE):
            raise ModelError(f"tables of rank {rank} for {size} codewords")
        bits = self.fraction_bits
        if bits.min() < 0 or bits.max() > MAX_FRACTION_BITS or np.abs(self.bias).max() > MAX_BIAS:
            raise ModelError("the tables are out of their limits")


def quantise_tables(embed: Floats, out: Floats, bias: Floats) -> Tables:
    """Quantise embed [levels, contexts, codewords, rank], out [levels, codewords, rank] and bias
    [levels, codewords], float32 in natural logarithms, to integers."""
    levels = len(embed)
    bits = np.zeros(levels, np.int32)
    embeds, outs, biases = [], [], []
    for q in range(levels):
        # Equal peaks of both use all of the 8 bits; then a step of the product is 2^-bits.
        step = max(float(np.abs(embed[q]).max()), 1e-6) / 127
        peak = max(float(np.abs(out[q]).max()), 1e-6) / np.log(2)
        bits[q] = np.clip(np.floor(np.log2(127 / (peak * step))), 0, MAX_FRACTION_BITS)
        unit = 2.0 ** int(bits[q])
        embeds.append(np.rint(embed[q] / step).astype(np.int8))
        outs.append(np.rint(out[q] / np.log(2) * step * unit).clip(-127, 127).astype(np.int8).T)
        biases.append(np.rint(bias[q] / np.log(2) * unit).astype(np.int32))
    return Tables(np.stack(embeds), np.stack(outs), np.stack(biases), bits)


@dataclasses.dataclass(frozen=True)
class Prior:
    """The network of codec.nn.prior, every matrix [outputs, inputs]; H state, W hidden units."""

    input_scale: Floats  # [1]
    gru_input: Floats  # [3 H, D + 1], gates in torch's order: reset, update, new
    gru_state: Floats  # [3 H, H]
    gru_input_bias: Floats  # [3 H]
    gru_state_bias: Floats  # [3 H]
    from_state: Floats  # [Q, W, H]
    from_sum: Floats  # [Q, W, D + 1]
    bias: Floats  # [Q, W]
    predict: Floats  # [Q, D + 1, W]
    centre: Floats  # [Q, D + 1]
    norms: Floats  # [Q, K]: follows each codeword in the output layer

    def __post_init__(self) -> None:
        if self.gru_state.ndim != 2 or self.from_sum.ndim != 3 or self.norms.ndim != 2:
            raise ModelError("the prior's shapes do not fit")
        states = self.gru_state.shape[1]
        levels, hidden, inputs = self.from_sum.shape
        shapes = {
            "input_scale": (1,),
            "gru_input": (3 * states, inputs),
            "gru_state": (3 * states, states),
            "gru_input_bias": (3 * states,),
            "gru_state_bias": (3 * states,),
            "from_state": (levels, hidden, states),
            "bias": (levels, hidden),
            "predict": (levels, inputs, hidden),
            "centre": (levels, inputs),
            "norms": (levels, self.norms.shape[1]),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
                raise ModelError(f"the prior's {name} does not fit")


# How each part of a prior is stored: matrices as 8-bit integers with a scale for each row.
_MATRICES = ("gru_input", "gru_state", "from_state", "from_sum", "predict")
_HALVES = ("norms",)


@dataclasses.dataclass(frozen=True)
class EntropyData:
    """The content of a data file."""

    model_id: bytes
    tables: Tables
    prior: Prior | None
    tables_id: bytes  # the first 8 bytes of the file's SHA-256

    @classmethod
    def read(cls, path: Path) -> EntropyData:
        """Read a data file. Raises ModelError if it is missing, damaged or beyond its limits."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path.name}: {error.strerror}") from None
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if metadata.get("format") != f"codec entropy {VERSION}":
                raise ModelError("not data of this codec's entropy coders")
            tables = Tables(**_group(tensors, "tables"))
            prior = _prior(_group(tensors, "prior"))
            if prior is not None and prior.norms.shape != tables.bias.shape:
                raise ModelError("the prior and the tables are of different models")
            return cls(
                bytes.fromhex(metadata["model_id"]),
                tables,
                prior,
                hashlib.sha256(data).digest()[:TABLES_ID_BYTES],
            )
        except ModelError as error:
            raise ModelError(f"{path.name}: {error}") from None
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path.name} is damaged: {error}") from None


def write(
    path: Path,
    model_id: bytes,
    tables: Tables,
    prior: Prior | None,
    notes: Mapping[str, Any],
    *,
    overwrite: bool,
) -> int:
    """Write a data file; return its size in bytes. `notes` go into its metadata as JSON."""
    tensors: dict[str, npt.NDArray[Any]] = {
        f"tables.{name}": np.ascontiguousarray(array)
        for name, array in dataclasses.asdict(tables).items()
    }
    for name, array in dataclasses.asdict(prior).items() if prior is not None else ():
        if name in _MATRICES:
            tensors[f"prior.{name}"], tensors[f"prior.{name}.scale"] = codebooks.pack(array)
        else:
            tensors[f"prior.{name}"] = array.astype(np.float16) if name in _HALVES else array
    metadata = {
        "format": f"codec entropy {VERSION}",
        "model_id": model_id.hex(),
        "notes": json.dumps(notes, sort_keys=True),
    }
    data = save(tensors, metadata)
    with replacing(path, overwrite=overwrite) as aside:
        aside.write_bytes(data)
    return len(data)


def stored(prior: Prior) -> Prior:
    """Round `prior` to what a file gives back."""
    parts = {}
    for name, array in dataclasses.asdict(prior).items():
        if name in _MATRICES:
            parts[name] = codebooks.unpack(*codebooks.pack(array))
        else:
            parts[name] = array.astype(np.float16 if name in _HALVES else np.float32)
    return Prior(**{name: array.astype(np.float32) for name, array in parts.items()})


def _group(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(f"{prefix}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}.")
    }


def _prior(parts: dict[str, Any]) -> Prior | None:
    if not parts:
        return None
    for name in _MATRICES:
        parts[name] = codebooks.unpack(parts[name], parts.pop(f"{name}.scale"))
    return Prior(**{name: cast(Floats, part.astype(np.float32)) for name, part in parts.items()})
