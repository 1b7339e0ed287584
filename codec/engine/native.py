"""The native engine: weights in; tokens and audio out, the same bits on every machine.

This is the definition of the codec: tokens do not depend on the instruction set, the number of
threads, or how the audio was cut into pieces. It needs no torch.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codec.engine import _engine
from codec.engine.packing import pack_decoder, pack_encoder
from codec.errors import AudioError, BackendError, BitrateError, ModelError, TokensError
from codec.model.config import ModelConfig
from codec.model.weights_file import WeightsFile

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint16]


class UnsupportedModelError(ModelError):
    """Good weights of a model that the engine has not all parts of; torch runs it."""


class NativeBackend:
    """A `codec.backend.Backend` in C. Safe to share between threads: calls release the GIL.

    weights: a safetensors file as `codec export` writes it. isa: one of `isas()`; by default the
    environment's CODEC_ISA, else the widest. block: frames worked on together, which changes speed
    and memory, never a bit.

    Raises ModelError if the weights are damaged or do not fit their configuration (in part on
    first use), UnsupportedModelError if they have parts that only torch runs, BackendError if this
    CPU does not have the instruction set.
    """

    def __init__(self, weights: Path, isa: str | None = None, block: int = _engine.BLOCK) -> None:
        isa = isa or os.environ.get("CODEC_ISA") or None
        if isa is not None and isa not in isas():
            raise BackendError(f"this CPU runs {', '.join(isas())}, not {isa}")
        if block < 1:
            raise BackendError(f"a block is 1 frame or more, not {block}")
        self._isa, self._block = isa, block
        self._weights = WeightsFile(weights)
        if not supports(self.config):
            raise UnsupportedModelError(
                f"{weights.name}: the native engine has no head {self.config.head!r}"
            )
        self._lock = threading.Lock()
        self._encoder: _engine.Encoder | None = None
        self._decoder: _engine.Decoder | None = None

    @property
    def config(self) -> ModelConfig:
        return self._weights.config

    @property
    def model_id(self) -> bytes:
        return self._weights.model_id

    @property
    def isa(self) -> str:
        """The instruction set that runs."""
        return self._isa or isas()[-1]

    @property
    def encoder(self) -> _engine.Encoder:
        """The encoder's half of the network, its weights packed on first use."""
        with self._lock:
            if self._encoder is None:
                self._encoder = pack_encoder(self._weights, self._isa, self._block)
            return self._encoder

    @property
    def decoder(self) -> _engine.Decoder:
        """The decoder's half of the network, its weights packed on first use."""
        with self._lock:
            if self._decoder is None:
                self._decoder = pack_decoder(self._weights, self._isa, self._block)
            return self._decoder

    def encode(self, audio: Floats, n_codebooks: int) -> Codes:
        """Codes uint16 [n_codebooks, config.n_frames(samples)] of `audio` float32 [samples].

        Raises AudioError, BitrateError.
        """
        samples = check_audio(audio)
        check_codebooks(n_codebooks, self.config)
        encoder = self.encoder
        state = np.empty(encoder.state_size, np.int64)
        encoder.reset(state)
        codes = encoder.push(state, samples, n_codebooks)
        return np.concatenate([codes, encoder.flush(state, n_codebooks)], axis=1)

    def decode(self, codes: Codes) -> Floats:
        """Audio float32 [frames * config.hop_length] of `codes` uint16 [1 to Q, frames].

        Raises TokensError.
        """
        decoder = self.decoder
        state = np.empty(decoder.state_size, np.int64)
        decoder.reset(state)
        audio = decoder.push(state, check_codes(codes, self.config))
        return np.concatenate([audio, decoder.flush(state)])

    def decode_pieces(self, pieces: Sequence[Codes]) -> Floats:
        """What `decode` does, of codes [1 to Q, frames] that follow one another: the number of
        codebooks may change between them."""
        checked = [check_codes(codes, self.config) for codes in pieces]
        decoder = self.decoder
        state = np.empty(decoder.state_size, np.int64)
        decoder.reset(state)
        audio = [decoder.push(state, codes) for codes in checked]
        return np.concatenate([*audio, decoder.flush(state)])


def isas() -> tuple[str, ...]:
    """Names of the instruction sets that this CPU runs, of scalar, avx2, avx512 and neon."""
    return _engine.isas()


def supports(config: ModelConfig) -> bool:
    """Whether the engine has every part of such a model."""
    return config.head == "gain_shape"


def check_audio(audio: Floats) -> Floats:
    """`audio`, contiguous. Raises AudioError unless it is float32 [samples], all finite."""
    samples = np.ascontiguousarray(audio)
    if samples.dtype != np.float32 or np.ndim(audio) != 1:
        raise AudioError(f"audio is float32 [samples], not {samples.dtype} {list(np.shape(audio))}")
    if not np.isfinite(samples).all():
        raise AudioError("audio has samples that are not finite numbers")
    return samples


def check_codebooks(n_codebooks: int, config: ModelConfig) -> None:
    """Raises BitrateError unless the model has as many."""
    if not 1 <= n_codebooks <= config.n_codebooks:
        raise BitrateError(f"{n_codebooks} codebooks; the model has 1 to {config.n_codebooks}")


def check_codes(codes: Codes, config: ModelConfig) -> Codes:
    """`codes`, contiguous uint16. Raises TokensError unless they are [1 to Q, frames], in range."""
    array = np.asarray(codes)
    if array.ndim != 2 or not 1 <= len(array) <= config.n_codebooks or array.dtype.kind not in "iu":
        raise TokensError(
            f"codes are integers [1 to {config.n_codebooks}, frames], "
            f"not {array.dtype} {list(array.shape)}"
        )
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < config.codebook_size:
        raise TokensError(f"codes are 0 to {config.codebook_size - 1}")
    return np.ascontiguousarray(array, np.uint16)
