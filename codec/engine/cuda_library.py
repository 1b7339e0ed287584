"""csrc/cuda/engine.h as Python calls: the library, its errors, and one half of the network each.

The library is built when codec is installed with CODEC_CUDA=1. CODEC_CUDA_LIBRARY names another,
such as the tests' stand-in, which runs on a CPU.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.engine.cuda_packing import Packed
from codec.errors import BackendError, ModelError
from codec.kernels._native import crc32c
from codec.support.types import Codes

Floats = npt.NDArray[np.float32]

STAGES = (
    "copy in", "front", "embed", "conv", "expand", "reduce", "heads", "back", "copy out",
)  # fmt: skip

_BAD_WEIGHTS = -2
_POINTER, _SIZE, _INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int


class Times(ctypes.Structure):
    """nac_cuda_times: milliseconds of each of `STAGES`."""

    _fields_ = [("ms", ctypes.c_double * len(STAGES))]

    def by_stage(self) -> dict[str, float]:
        return dict(zip(STAGES, self.ms, strict=True))


@functools.cache
def _load(path: str) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(path)
        library.nac_cuda_message.restype = ctypes.c_char_p
    except (OSError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise BackendError(f"the CUDA engine does not load: {reason}") from None
    for half in ("encoder", "decoder"):
        opened = getattr(library, f"nac_cuda_{half}_open")
        opened.argtypes = [
            *(_POINTER, _POINTER, _SIZE, _POINTER, _SIZE, ctypes.c_uint32, _INT, _SIZE, _POINTER)
        ]
        close = getattr(library, f"nac_cuda_{half}_close")
        close.argtypes, close.restype = [_POINTER], None
        size = getattr(library, f"nac_cuda_{half}_bytes")
        size.argtypes, size.restype = [_POINTER], _SIZE
    library.nac_cuda_encoder_run.argtypes = [
        *(_POINTER, _POINTER, _POINTER, _SIZE, _SIZE, _POINTER, _POINTER)
    ]
    library.nac_cuda_decoder_run.argtypes = [
        *(_POINTER, _POINTER, _POINTER, _POINTER, _SIZE, _POINTER, _POINTER)
    ]
    library.nac_cuda_encoder_queue.argtypes = [
        *(_POINTER, _POINTER, _SIZE, _POINTER, _SIZE, _SIZE, _POINTER, _SIZE, _POINTER)
    ]
    library.nac_cuda_decoder_queue.argtypes = [
        *(_POINTER, _POINTER, _SIZE, _SIZE, _POINTER, _SIZE, _POINTER, _SIZE, _POINTER)
    ]
    return library


def library() -> ctypes.CDLL:
    """Return the library. Raises BackendError if it is not built or does not load."""
    path = os.environ.get("CODEC_CUDA_LIBRARY")
    if not path:
        found = importlib.util.find_spec("codec.engine._cuda")
        path = found.origin if found is not None else None
    if not path:
        raise BackendError(
            "the CUDA engine is not built: reinstall codec with CODEC_CUDA=1, where nvcc is"
        )
    return _load(path)


def check(code: int) -> None:
    """Raises ModelError if the weights did not arrive intact, BackendError on any other error."""
    if code == 0:
        return
    message = library().nac_cuda_message(code).decode()
    raise (ModelError if code == _BAD_WEIGHTS else BackendError)(f"CUDA: {message}")


def check_device(index: int) -> None:
    """Raises BackendError unless there is a GPU of this number."""
    count = ctypes.c_int(0)
    code = library().nac_cuda_devices(ctypes.byref(count))
    if code != 0 or count.value == 0:
        reason = library().nac_cuda_message(code).decode() if code else "no device"
        raise BackendError(f"no CUDA GPU is available: {reason}")
    if index >= count.value:
        raise BackendError(f"there is no GPU cuda:{index}: there are {count.value}, from cuda:0")


def speed(index: int) -> tuple[int, int]:
    """Return the multiprocessors of a GPU, and the kilohertz of its clock at most."""
    count, kilohertz = ctypes.c_int(0), ctypes.c_int(0)
    check(library().nac_cuda_speed(index, ctypes.byref(count), ctypes.byref(kilohertz)))
    return count.value, kilohertz.value


class _Half:
    """A network on a GPU. Threads may share it: calls wait for each other."""

    name: str

    def __init__(self, packed: Packed, device: int, frames: int) -> None:
        check_device(device)
        self._library = library()
        self._lock = threading.Lock()
        handle = _POINTER()
        crc = crc32c(packed.floats.tobytes(), 0)
        check(
            self._of("open")(
                *(ctypes.byref(packed.sizes), packed.ints.ctypes.data, packed.ints.size),
                *(packed.floats.ctypes.data, packed.floats.size, crc, device, frames),
                ctypes.byref(handle),
            )
        )
        self._handle = handle
        weakref.finalize(self, self._of("close"), handle)

    def _of(self, function: str) -> Any:
        return getattr(self._library, f"nac_cuda_{self.name}_{function}")

    @property
    def bytes(self) -> int:
        """Bytes of the GPU's memory that are held."""
        return int(self._of("bytes")(self._handle))

    def _queue(self, *arguments: Any) -> None:
        with self._lock:
            code = self._of("queue")(self._handle, *arguments)
        check(code)

    def _run(self, *arguments: Any, times: Times | None) -> None:
        with self._lock:
            code = self._of("run")(
                self._handle, *arguments, None if times is None else ctypes.byref(times)
            )
        check(code)


class CudaEncoder(_Half):
    """nac_cuda_encoder."""

    name = "encoder"

    def run(
        self, audio: Sequence[Floats], frames: Sequence[int], levels: int,
        times: Times | None = None,
    ) -> list[Codes]:  # fmt: skip
        """Encode items of C-contiguous float32 [samples], 1 at least, to codes uint16 [levels,
        frames]."""
        codes = [np.empty((levels, count), np.uint16) for count in frames]
        samples = np.array([len(item) for item in audio], np.uintp)
        given, made = _addresses(audio), _addresses(codes)
        self._run(
            *(given.ctypes.data, samples.ctypes.data, len(audio), levels, made.ctypes.data),
            times=times,
        )
        return codes

    def queue(
        self, audio: int, stride: int, samples: Sequence[int], levels: int,
        codes: int, frames: int, stream: int,
    ) -> None:  # fmt: skip
        """Queue work on arrays of the GPU, given as addresses: float32 [items, stride], of which
        `samples` of each item count, to int64 [items, levels, frames]. stream: a cudaStream_t.

        csrc/cuda/engine.h says what is waited for.
        """
        counts = np.array(samples, np.uintp)
        self._queue(
            *(audio, stride, counts.ctypes.data, len(counts), levels, codes, frames, stream)
        )


class CudaDecoder(_Half):
    """nac_cuda_decoder."""

    name = "decoder"

    def run(
        self, items: Sequence[tuple[Codes, Codes]], hop: int, times: Times | None = None
    ) -> list[Floats]:
        """Decode items of codes uint16 [frames, levels of the model], and how many of a frame's
        count, uint16 [frames], both C-contiguous, to audio float32 [frames * hop]."""
        audio = [np.empty(len(codes) * hop, np.float32) for codes, _ in items]
        frames = np.array([len(codes) for codes, _ in items], np.uintp)
        codes = _addresses([codes for codes, _ in items])
        levels, made = _addresses([levels for _, levels in items]), _addresses(audio)
        self._run(
            *(codes.ctypes.data, levels.ctypes.data, frames.ctypes.data, len(items)),
            made.ctypes.data,
            times=times,
        )
        return audio

    def queue(
        self, codes: int, levels: int, stride: int, frames: Sequence[int],
        audio: int, samples: int, stream: int,
    ) -> None:  # fmt: skip
        """Queue work on arrays of the GPU, given as addresses: int64 [items, levels, stride], of
        which `frames` of each item count, to float32 [items, samples]. stream: a cudaStream_t.

        csrc/cuda/engine.h says what is waited for.
        """
        counts = np.array(frames, np.uintp)
        self._queue(
            *(codes, levels, stride, counts.ctypes.data, len(counts), audio, samples, stream)
        )


def _addresses(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.uintp]:
    return np.array([array.ctypes.data for array in arrays], np.uintp)
