"""The native engine: weights in; tokens and audio out, the same bits on every machine.

This is the definition of the codec: tokens do not depend on the instruction set, the number of
threads, or how the audio was cut into pieces. It needs no torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.engine import _engine
from codec.engine.halves import Halves
from codec.engine.packing import pack_decoder, pack_encoder, pack_refiner
from codec.errors import BackendError
from codec.model.checks import check_audio, check_codebooks, check_codes
from codec.model.location import check_reopened, weights_name, weights_path
from codec.support.types import Codes

Floats = npt.NDArray[np.float32]

PIECE = 64  # frames that a beam search codes before it can be stopped: with 64 paths, in 0.2 s


class NativeBackend(Halves[_engine.Encoder, _engine.Decoder]):
    """A `codec.engine.backend.StreamingBackend` in C.

    Threads may share it: calls release the GIL. It pickles by the path of its weights.

    weights: a safetensors file as `codec export` writes it.
    isa: one of `isas()`; by default the environment's CODEC_ISA, else the widest.
    block: frames worked on together, which changes speed and memory, never a bit.

    Raises ModelError if the weights are damaged or do not fit their configuration (in part on
    first use), UnsupportedModelError if the engine has no code for one of their layers,
    BackendError if this CPU does not have the instruction set.
    """

    def __init__(self, weights: Path, isa: str | None = None, block: int = _engine.BLOCK) -> None:
        self._asked_isa = isa
        isa = isa or os.environ.get("CODEC_ISA") or None
        if isa is not None and isa not in isas():
            raise BackendError(f"this CPU runs {', '.join(isas())}, not {isa}")
        if block < 1:
            raise BackendError(f"a block is at least 1 frame, not {block}")
        self._isa, self._block = isa, block
        self._refiner: _engine.Refiner | None = None
        super().__init__(weights, "native")

    def __reduce__(self) -> tuple[Any, ...]:
        name = weights_name(self._path)
        return _reopened, (name, self._asked_isa, self._block, self.model_id)

    @property
    def streaming(self) -> NativeBackend:
        """This backend: it codes audio while it arrives."""
        return self

    @property
    def isa(self) -> str:
        """The instruction set that runs."""
        return self._isa or isas()[-1]

    def _pack_encoder(self) -> _engine.Encoder:
        return pack_encoder(self._weights, self._isa, self._block)

    def _pack_decoder(self) -> _engine.Decoder:
        return pack_decoder(self._weights, self._isa, self._block)

    @property
    def refiner(self) -> _engine.Refiner:
        """What improves codes, which is packed on first use. Raises ModelError, BackendError."""
        with self._lock:
            if self._refiner is None:
                self._refiner = pack_refiner(self._weights, self._isa, self._block)
            return self._refiner

    def check_refinement(self) -> None:
        """Raise ModelError, or BackendError if codes of this model cannot be refined."""
        _ = self.refiner

    def encode(self, audio: Floats, n_codebooks: int) -> Codes:
        """Encode `audio` float32 [samples] to uint16 [n_codebooks, config.n_frames(samples)].

        A model that codes two channels together takes [2, samples], left and right.
        Raises AudioError, BitrateError.
        """
        return self.encode_beam(audio, n_codebooks, 1)

    def encode_beam(
        self,
        audio: Floats,
        n_codebooks: int,
        beam: int,
        stopped: Callable[[], bool] | None = None,
    ) -> Codes:
        """Encode as `encode` does, with 1 to 64 paths.

        Raises AudioError, BitrateError, and RuntimeError once `stopped()` is true, which is asked
        before every PIECE frames. Python handles signals there, too.
        """
        samples = check_audio(audio, self.config.channels)
        check_codebooks(n_codebooks, self.config)
        encoder, state = self.encoder, _new_state(self.encoder)
        size = samples.shape[-1]
        piece = PIECE * self.config.hop_length if beam > 1 else max(1, size)
        codes = []
        for at in range(0, size, piece):
            if stopped is not None and stopped():
                raise RuntimeError("the search was stopped")
            part = np.ascontiguousarray(samples[..., at : at + piece])
            codes.append(encoder.push(state, part, n_codebooks, beam))
        return np.concatenate([*codes, encoder.flush(state, n_codebooks, beam)], axis=1)

    def encode_refined(
        self,
        audio: Floats,
        n_codebooks: int,
        steps: int,
        first: int,
        last: int,
        beam: int = 1,
        stopped: Callable[[], bool] | None = None,
    ) -> Codes:
        """Encode frames [first, last) of `audio`, and improve their codes by `steps` steps, each of
        which searches with 1 to 64 paths, so that what they decode to comes closer to the samples
        of these frames.

        Raises AudioError, BitrateError, BackendError if codes of this model cannot be refined, and
        RuntimeError once `stopped()` is true, which is asked before each step.
        """
        samples = check_audio(audio, self.config.channels)
        check_codebooks(n_codebooks, self.config)
        hop = self.config.hop_length
        own = samples[..., first * hop : last * hop]
        target = np.zeros((*own.shape[:-1], (last - first) * hop), np.float32)
        target[..., : own.shape[-1]] = own  # the last frame is continued by silence
        latents = self.encoder.latents(samples)[first:last]
        return self.refiner.refine(target, latents, n_codebooks, steps, beam, stopped)

    def decode(self, codes: Codes) -> Floats:
        """Decode `codes` uint16 [1 to Q, frames] to float32 [frames * config.hop_length].

        A model that codes two channels together gives [2, samples]. Raises TokensError.
        """
        return self.decode_pieces([codes])

    def decode_pieces(self, pieces: Sequence[Codes]) -> Floats:
        """Decode codes [1 to Q, frames] that follow one another, as `decode` does: the number of
        codebooks may change from one piece to the next. Raises TokensError."""
        checked = [check_codes(codes, self.config) for codes in pieces]
        decoder, state = self.decoder, _new_state(self.decoder)
        audio = [decoder.push(state, codes) for codes in checked]
        return np.concatenate([*audio, decoder.flush(state)], axis=-1)


def _new_state(network: _engine.Encoder | _engine.Decoder) -> npt.NDArray[np.int64]:
    state = np.empty(network.state_size, np.int64)
    network.reset(state)
    return state


def _reopened(model: str, isa: str | None, block: int, model_id: bytes) -> NativeBackend:
    backend = NativeBackend(weights_path(model), isa, block)
    check_reopened(backend.model_id, model_id)
    return backend


def isas() -> tuple[str, ...]:
    """Name the instruction sets that this CPU runs, out of scalar, avx2, avx512 and neon."""
    return _engine.isas()
