"""The network on a GPU: the same tokens and samples as the native engine's, bit for bit.

Needs no torch. docs/gpu.md says how it is built.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from codec.engine.cuda_library import CudaDecoder, CudaEncoder, Times, check_device
from codec.engine.cuda_packing import pack_decoder, pack_encoder
from codec.engine.halves import Halves, UnsupportedModelError
from codec.errors import BackendError
from codec.model.checks import check_audio, check_codebooks, check_codes
from codec.model.location import check_reopened, weights_name, weights_path
from codec.support.arguments import shown
from codec.support.types import Codes

Floats = npt.NDArray[np.float32]
T = TypeVar("T")
R = TypeVar("R")

# Token frames of a batch: enough to fill a large GPU, in 2.5 GB of its memory for both networks.
BATCH_FRAMES = 16_384


class CudaBackend(Halves[CudaEncoder, CudaDecoder]):
    """A `codec.engine.backend.BatchBackend` on an NVIDIA GPU.

    Threads may share it: what they ask for while the GPU works goes into one batch. No result
    depends on what else is in a batch. It pickles by the path of its weights.

    device: "cuda", "cuda:1", or an object of torch of such a name.
    batch_frames: token frames of a batch at most, on which the memory that is held depends.

    Raises BackendError if the engine is not built or there is no such GPU, ModelError if the
    weights are damaged, do not fit their configuration, or do not arrive intact (in part on first
    use), UnsupportedModelError if the engine has no code for one of their layers.
    """

    streaming = None

    def __init__(
        self, weights: Path, device: Any = "cuda", batch_frames: int = BATCH_FRAMES
    ) -> None:
        self._batch_frames = batch_frames
        self._device = device_index(device)
        check_device(self._device)
        super().__init__(weights, "CUDA")
        if self.config.channels != 1:
            raise UnsupportedModelError(
                f"{weights.name}: the CUDA engine codes one channel at a time,"
                f" not {self.config.channels} together; the native engine on the CPU does"
            )
        self._encoding: _Together[tuple[int, Floats], Codes] = _Together(self._encode)
        self._decoding: _Together[tuple[Codes, Codes], Floats] = _Together(self._decode)

    def __reduce__(self) -> tuple[Any, ...]:
        name = weights_name(self._path)
        return _reopened, (name, f"cuda:{self._device}", self._batch_frames, self.model_id)

    def _pack_encoder(self) -> CudaEncoder:
        return CudaEncoder(pack_encoder(self._weights), self._device, self._batch_frames)

    def _pack_decoder(self) -> CudaDecoder:
        return CudaDecoder(pack_decoder(self._weights), self._device, self._batch_frames)

    def encode(self, audio: Floats, n_codebooks: int) -> Codes:
        """Encode `audio` float32 [samples] to uint16 [n_codebooks, config.n_frames(samples)].

        Raises AudioError, BitrateError.
        """
        return self.encode_many([audio], n_codebooks)[0]

    def encode_many(
        self, audios: Sequence[Floats], n_codebooks: int, times: Times | None = None
    ) -> list[Codes]:
        """`encode` every item, in one call. times: what the time of each stage is added to; the
        call is then slower. Raises AudioError, BitrateError."""
        check_codebooks(n_codebooks, self.config)
        items = [(n_codebooks, np.ascontiguousarray(check_audio(audio))) for audio in audios]
        return self._encode(items, times) if times is not None else self._encoding.run(items)

    def decode(self, codes: Codes) -> Floats:
        """Decode `codes` uint16 [1 to Q, frames] to float32 [frames * config.hop_length].

        Raises TokensError.
        """
        return self.decode_pieces([codes])

    def decode_pieces(self, pieces: Sequence[Codes]) -> Floats:
        """Decode codes [1 to Q, frames] that follow one another, as `decode` does: the number of
        codebooks may change from one piece to the next. Raises TokensError."""
        return self._decoding.run([self._item(pieces)])[0]

    def decode_many(self, items: Sequence[Codes], times: Times | None = None) -> list[Floats]:
        """`decode` every item, in one call. times: as for `encode_many`. Raises TokensError."""
        found = [self._item([codes]) for codes in items]
        return self._decode(found, times) if times is not None else self._decoding.run(found)

    def _item(self, pieces: Sequence[Codes]) -> tuple[Codes, Codes]:
        """Codes [frames, Q], filled up with zeros, and how many of a frame's count [frames]."""
        checked = [check_codes(codes, self.config) for codes in pieces]
        frames = sum(codes.shape[1] for codes in checked)
        codes = np.zeros((frames, self.config.n_codebooks), np.uint16)
        levels = np.empty(frames, np.uint16)
        at = 0
        for piece in checked:
            count, length = piece.shape
            codes[at : at + length, :count] = piece.T
            levels[at : at + length] = count
            at += length
        return codes, levels

    def _encode(
        self, items: Sequence[tuple[int, Floats]], times: Times | None = None
    ) -> list[Codes]:
        # The codes of fewer codebooks are the first of those of more.
        most = max((count for count, _ in items), default=1)
        found = [audio for _, audio in items if len(audio)]
        frames = [self.config.n_frames(len(audio)) for audio in found]
        coded = iter(self.encoder.run(found, frames, most, times) if found else [])
        return [
            np.ascontiguousarray(next(coded)[:count])
            if len(audio)
            else np.empty((count, 0), np.uint16)
            for count, audio in items
        ]

    def _decode(
        self, items: Sequence[tuple[Codes, Codes]], times: Times | None = None
    ) -> list[Floats]:
        found = [item for item in items if len(item[0])]
        hop = self.config.hop_length
        audio = iter(self.decoder.run(found, hop, times) if found else [])
        return [next(audio) if len(item[0]) else np.empty(0, np.float32) for item in items]


class _Together(Generic[T, R]):
    """Calls of many threads as one: while one of them works, the others' items wait and gather.

    work: items to results, in their order.
    """

    def __init__(self, work: Callable[[Sequence[T]], list[R]]) -> None:
        self._work = work
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._waiting: list[tuple[Sequence[T], Future[list[R]]]] = []

    def run(self, items: Sequence[T]) -> list[R]:
        mine: Future[list[R]] = Future()
        with self._guard:
            self._waiting.append((items, mine))
        with self._turn:
            if not mine.done():
                self._work_off()
        return mine.result()

    def _work_off(self) -> None:
        """Do all that waits, ours among it."""
        with self._guard:
            calls, self._waiting = self._waiting, []
        try:
            results = iter(self._work([item for items, _ in calls for item in items]))
            for items, future in calls:
                future.set_result([next(results) for _ in items])
        except BaseException as error:
            for _, future in calls:
                if not future.done():
                    future.set_exception(error)


def device_index(device: Any) -> int:
    """Return the number of a GPU that is named "cuda" or "cuda:1". Raises BackendError."""
    found = re.fullmatch(r"cuda(?::(\d{1,3}))?", str(device))
    if found is None:
        raise BackendError(f"a GPU is cuda or cuda:0, cuda:1, ..., not {shown(device)}")
    return int(found.group(1) or 0)


def _reopened(model: str, device: str, batch_frames: int, model_id: bytes) -> CudaBackend:
    backend = CudaBackend(weights_path(model), device, batch_frames)
    check_reopened(backend.model_id, model_id)
    return backend
