"""Packs a model's weights into the parts of the native engine, by libcodec's C."""

from __future__ import annotations

from typing import TypeVar

from codec.engine import _engine
from codec.errors import BackendError, ModelError
from codec.model.weights_file import WeightsFile

Half = TypeVar("Half", _engine.Encoder, _engine.Decoder, _engine.Refiner)


def pack_encoder(weights: WeightsFile, isa: str | None, block: int) -> _engine.Encoder:
    """Pack the encoder's half of the network. Raises ModelError."""
    return _packed(_engine.Encoder, weights, isa, block)


def pack_decoder(weights: WeightsFile, isa: str | None, block: int) -> _engine.Decoder:
    """Pack the decoder's half of the network. Raises ModelError."""
    return _packed(_engine.Decoder, weights, isa, block)


def pack_refiner(weights: WeightsFile, isa: str | None, block: int) -> _engine.Refiner:
    """Pack what refining the codes needs: the decoder, and its weights transposed.

    Raises ModelError, BackendError if codes of such a model cannot be refined.
    """
    try:
        return _packed(_engine.Refiner, weights, isa, block)
    except NotImplementedError as error:
        raise BackendError(f"{weights.name}: {error}") from None


def _packed(half: type[Half], weights: WeightsFile, isa: str | None, block: int) -> Half:
    books, config = weights.codebooks, weights.config.to_json().encode()
    with weights.mapped() as data:
        try:
            return half(data, config, books, isa, block)
        except ValueError as error:
            raise ModelError(f"{weights.name} does not fit its configuration: {error}") from None
