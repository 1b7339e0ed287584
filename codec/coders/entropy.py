"""The entropy coders of a file: `fast` with integer tables, `best` with tables and a neural prior.

Both are `codec.coders.base.Coder`s. Both predict every code from codes that are already known, in
arithmetic that gives the same integers on every machine, and a range coder codes the rest.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.coders import _entropy
from codec.coders.base import CODER_IDS, CODER_NAMES
from codec.coders.data import CONTEXTS, SUFFIX, EntropyData, Prior, Tables
from codec.errors import BackendError, FormatError, ModelError, TokensError
from codec.model.identity import same_tokens
from codec.model.weights_file import WeightsFile, changed
from codec.support.types import Codes

Floats = npt.NDArray[np.float32]


class _ModelCoder:
    """Wraps a model in C as a coder."""

    coder_id = 0

    def __init__(self, model: Any, tables_id: bytes) -> None:
        self._model, self.tables_id = model, tables_id

    def encode(self, codes: Codes) -> bytes:
        """Encode `codes` uint16 [channels, codebooks, frames]; return the payload.

        Raises TokensError.
        """
        return self._encode(codes, None)

    def costs(self, codes: Codes) -> tuple[bytes, Floats, Floats]:
        """Return the payload and the cost of each code in bits, as two float32 arrays like `codes`.

        The first array is the cost as predicted, the second with the frequency rounded for the
        range coder.
        """
        channels, levels, frames = np.shape(codes)
        seen = np.zeros((frames * levels * channels, 3), np.uint32)
        payload = self._encode(codes, seen)
        weight, total, frequency = seen.astype(np.float64).T

        def arranged(bits: npt.NDArray[np.float64]) -> Floats:
            by_time = bits.astype(np.float32).reshape(frames, levels, channels)
            return np.ascontiguousarray(by_time.transpose(2, 1, 0))

        predicted = np.log2(total) - np.log2(np.maximum(weight, 0.5))
        return payload, arranged(predicted), arranged(16 - np.log2(frequency))

    def decode(self, payload: bytes, channels: int, codebooks: int, frames: int) -> Codes:
        """Return the codes uint16 [channels, codebooks, frames] that `encode` made `payload` from.

        Raises FormatError on any other payload, and on a shape the model does not have.
        """
        if not (channels >= 1 and frames >= 1 and 1 <= codebooks <= self._model.levels):
            raise FormatError(
                f"{channels} channels, {codebooks} codebooks, {frames} frames; "
                f"the model has 1 to {self._model.levels} codebooks"
            )
        codes: Codes | None = self._model.decode(payload, channels, codebooks, frames)
        if codes is None:
            raise FormatError("the payload is not one that the coder writes")
        return codes

    def _encode(self, codes: Codes, costs: npt.NDArray[np.uint32] | None) -> bytes:
        levels, size = self._model.levels, self._model.codewords
        array = np.asarray(codes)
        if array.ndim != 3 or not array.size or array.shape[1] > levels:
            raise TokensError(f"codes are [channels, 1 to {levels}, frames], not {array.shape}")
        if array.dtype.kind not in "iu" or not 0 <= array.min() <= array.max() < size:
            raise TokensError(f"codes are 0 to {size - 1}")
        return bytes(self._model.encode(array, costs))


class TablesCoder(_ModelCoder):
    """`fast`: integer tables, conditioned on codes of this frame and the one before."""

    coder_id = CODER_IDS["fast"]

    def __init__(self, data: EntropyData, isa: str | None = None) -> None:
        super().__init__(_tables(data.tables, _chosen(isa)), data.tables_id)


class PriorCoder(_ModelCoder):
    """`best`: the tables and a recurrent network over all codes of the chunk so far.

    codebooks: the model's, float32 [levels, codewords, dim]. isa: as for the engine.
    Raises ModelError if the data have no prior, or one that does not fit the codebooks.
    """

    coder_id = CODER_IDS["best"]

    def __init__(self, data: EntropyData, codebooks: Floats, isa: str | None = None) -> None:
        if data.prior is None:
            raise ModelError("the data hold no prior")
        isa = _chosen(isa)
        super().__init__(_prior(data.prior, data.tables, codebooks, isa), data.tables_id)


def load(
    weights: Path, coder_id: int, isa: str | None = None, model_id: bytes | None = None
) -> TablesCoder | PriorCoder:
    """Return the coder of that number for the model at `weights`; its data lie beside the weights.

    model_id: of the model whose codes will be coded; None for that of `weights`.
    Raises ModelError if the data are missing, damaged, or of another model.
    """
    path = weights.with_suffix(SUFFIX)
    if not path.is_file():
        raise ModelError(f"the model has no data for the coder {CODER_NAMES[coder_id]!r}")
    data = EntropyData.read(path)
    model = WeightsFile(weights)
    wanted = model_id or model.model_id
    if not same_tokens(data.model_id, wanted):
        raise ModelError(
            f"the model has no data for the coder {CODER_NAMES[coder_id]!r}: {path.name} is of "
            f"{data.model_id.hex()}, not {wanted.hex()}"
        )
    if data.tables.bias.shape != (model.config.n_codebooks, model.config.codebook_size):
        raise ModelError(f"{path.name} does not fit the model's codebooks")
    if coder_id == TablesCoder.coder_id:
        return TablesCoder(data, isa)
    if coder_id == PriorCoder.coder_id:
        if not same_tokens(model.model_id, wanted):
            raise changed(model.name)
        return PriorCoder(data, model.codebooks, isa)
    raise BackendError(f"coder {coder_id} has no data")


def _chosen(isa: str | None) -> str | None:
    isa = isa or os.environ.get("CODEC_ISA") or None
    if isa is not None and isa not in _entropy.isas():
        raise BackendError(f"this CPU runs {', '.join(_entropy.isas())}, not {isa}")
    return isa


def _tables(tables: Tables, isa: str | None) -> Any:
    source = [
        [-1 if (level := context.level(q)) is None else level for context in CONTEXTS]
        for q in range(len(tables.bias))
    ]
    return _entropy.Tables(
        np.ascontiguousarray(tables.embed),
        np.ascontiguousarray(tables.out),
        np.ascontiguousarray(tables.bias),
        np.ascontiguousarray(tables.fraction_bits),
        np.array([context.back for context in CONTEXTS], np.int32),
        np.array(source, np.int32),
        isa,
    )


def _prior(prior: Prior, tables: Tables, codebooks: Floats, isa: str | None) -> Any:
    # log 2 in float32, times a power of two: exact
    unit = np.ldexp(np.float32(np.log(2)), -tables.fraction_bits)
    parts = {field.name: getattr(prior, field.name) for field in dataclasses.fields(prior)}
    try:
        return _entropy.Prior(_tables(tables, isa), parts, codebooks, unit.astype(np.float32), isa)
    except ValueError as error:
        raise ModelError(f"the prior does not fit the model: {error}") from None
