"""What the engines on a CPU and on a GPU share: weights, packed in two halves on first use."""

from __future__ import annotations

import abc
import threading
from pathlib import Path
from typing import Generic, TypeVar

from codec.errors import ModelError
from codec.model.config import ModelConfig
from codec.model.weights_file import WeightsFile
from codec.support.immutable import Immutable

EncoderHalf = TypeVar("EncoderHalf")
DecoderHalf = TypeVar("DecoderHalf")


class UnsupportedModelError(ModelError):
    """The weights are valid, but the engine has no code for a layer that this model uses.

    Use backend="torch".
    """


class Halves(Immutable, abc.ABC, Generic[EncoderHalf, DecoderHalf]):
    """The encoder and the decoder of a model, each packed on first use. Threads may share it.

    engine: its name in errors. Raises ModelError if the weights are damaged or do not fit their
    configuration (in part on first use), UnsupportedModelError if the engine has no code for one
    of their layers.
    """

    def __init__(self, weights: Path, engine: str) -> None:
        self._path = weights.absolute()
        self._weights = WeightsFile(weights)
        if self.config.head != "gain_shape":
            raise UnsupportedModelError(
                f"{weights.name}: the {engine} engine has no head {self.config.head!r}"
            )
        self._lock = threading.Lock()
        self._encoder: EncoderHalf | None = None
        self._decoder: DecoderHalf | None = None

    @property
    def config(self) -> ModelConfig:
        """The dimensions of the model."""
        return self._weights.config

    @property
    def model_id(self) -> bytes:
        """The 8 bytes that name the weights."""
        return self._weights.model_id

    @property
    def encoder(self) -> EncoderHalf:
        """The encoder of the network, which is packed on first use."""
        with self._lock:
            if self._encoder is None:
                self._encoder = self._pack_encoder()
            return self._encoder

    @property
    def decoder(self) -> DecoderHalf:
        """The decoder of the network, which is packed on first use."""
        with self._lock:
            if self._decoder is None:
                self._decoder = self._pack_decoder()
            return self._decoder

    @abc.abstractmethod
    def _pack_encoder(self) -> EncoderHalf:
        """Raises ModelError."""

    @abc.abstractmethod
    def _pack_decoder(self) -> DecoderHalf:
        """Raises ModelError."""
