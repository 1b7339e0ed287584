"""Call libcodec from Python by its ABI alone, as from any language that can load a C library.

    python examples/c/codec_ctypes.py build/libcodec.so default.safetensors [seconds]

encodes and decodes a sweep, whole and as a stream, and says how they compare. NumPy holds the
arrays; nothing of the Python package is used.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_uint16, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint16]


class Info(ctypes.Structure):
    """The codec_info of codec.h."""

    _fields_ = (
        ("sample_rate", ctypes.c_uint32),
        ("hop_length", ctypes.c_uint32),
        ("codebooks", ctypes.c_uint32),
        ("codebook_size", ctypes.c_uint32),
        ("latent_dim", ctypes.c_uint32),
        ("encoder_latency", ctypes.c_uint32),
        ("decoder_latency", ctypes.c_uint32),
        ("id", ctypes.c_uint8 * 8),
        ("channels", ctypes.c_uint32),
    )


class LibraryError(Exception):
    """A call that failed: its status and, where the call gives one, the reason."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


SIZES, SAMPLES, CODES = POINTER(c_size_t), POINTER(c_float), POINTER(c_uint16)
# name: result, arguments
FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "codec_status_text": (c_char_p, c_int),
    "codec_version": (c_char_p,),
    "codec_abi_version": (c_int,),
    "codec_model_open": (c_int, c_char_p, c_char_p, POINTER(c_void_p), c_char_p, c_size_t),
    "codec_model_read": (
        c_int,
        c_char_p,
        c_size_t,
        c_char_p,
        POINTER(c_void_p),
        c_char_p,
        c_size_t,
    ),
    "codec_model_free": (None, c_void_p),
    "codec_model_info": (c_int, c_void_p, POINTER(Info), c_size_t),
    "codec_model_instruction_set": (c_char_p, c_void_p),
    "codec_frames": (c_size_t, c_void_p, c_size_t),
    "codec_encode": (c_int, c_void_p, SAMPLES, c_size_t, c_size_t, CODES, c_size_t, SIZES),
    "codec_encode_refined": (
        c_int,
        c_void_p,
        SAMPLES,
        *(c_size_t,) * 4,
        CODES,
        c_size_t,
        SIZES,
    ),
    "codec_decode": (c_int, c_void_p, CODES, *(c_size_t,) * 3, SAMPLES, c_size_t, SIZES),
    "codec_encoder_new": (c_int, c_void_p, c_size_t, POINTER(c_void_p)),
    "codec_encoder_free": (None, c_void_p),
    "codec_encoder_reset": (None, c_void_p),
    "codec_encoder_set_beam": (c_int, c_void_p, c_size_t),
    "codec_encoder_set_refine": (c_int, c_void_p, c_size_t, c_char_p, c_size_t),
    "codec_encoder_ready": (c_size_t, c_void_p, c_size_t),
    "codec_encoder_left": (c_size_t, c_void_p),
    "codec_encoder_push": (c_int, c_void_p, SAMPLES, c_size_t, CODES, c_size_t, SIZES),
    "codec_encoder_flush": (c_int, c_void_p, CODES, c_size_t, SIZES),
    "codec_encoder_push_latents": (c_int, c_void_p, SAMPLES, c_size_t, SAMPLES, c_size_t, SIZES),
    "codec_encoder_flush_latents": (c_int, c_void_p, SAMPLES, c_size_t, SIZES),
    "codec_encoder_state_size": (c_size_t, c_void_p),
    "codec_encoder_save": (c_int, c_void_p, c_char_p, c_size_t),
    "codec_encoder_load": (c_int, c_void_p, c_char_p, c_size_t),
    "codec_decoder_new": (c_int, c_void_p, POINTER(c_void_p)),
    "codec_decoder_free": (None, c_void_p),
    "codec_decoder_reset": (None, c_void_p),
    "codec_decoder_set_postfilter": (c_int, c_void_p, c_int, c_char_p, c_size_t),
    "codec_decoder_latency": (c_size_t, c_void_p),
    "codec_decoder_ready": (c_size_t, c_void_p, c_size_t),
    "codec_decoder_left": (c_size_t, c_void_p),
    "codec_decoder_push": (c_int, c_void_p, CODES, *(c_size_t,) * 3, SAMPLES, c_size_t, SIZES),
    "codec_decoder_push_latents": (
        *(c_int, c_void_p, SAMPLES, c_size_t),
        *(SAMPLES, c_size_t, SIZES),
    ),
    "codec_decoder_flush": (c_int, c_void_p, SAMPLES, c_size_t, SIZES),
    "codec_decoder_state_size": (c_size_t, c_void_p),
    "codec_decoder_save": (c_int, c_void_p, c_char_p, c_size_t),
    "codec_decoder_load": (c_int, c_void_p, c_char_p, c_size_t),
    "codec_enhancer_open": (
        *(c_int, c_void_p, c_char_p),
        *(c_char_p, POINTER(c_void_p), c_char_p, c_size_t),
    ),
    "codec_enhancer_read": (
        *(c_int, c_void_p, c_char_p, c_size_t),
        *(c_char_p, POINTER(c_void_p), c_char_p, c_size_t),
    ),
    "codec_enhancer_free": (None, c_void_p),
    "codec_enhancer_stream_new": (c_int, c_void_p, POINTER(c_void_p)),
    "codec_enhancer_stream_free": (None, c_void_p),
    "codec_enhancer_stream_reset": (None, c_void_p),
    "codec_enhancer_stream_ready": (c_size_t, c_void_p, c_size_t),
    "codec_enhancer_stream_left": (c_size_t, c_void_p),
    "codec_enhancer_stream_push": (
        *(c_int, c_void_p, SAMPLES, c_size_t),
        *(SAMPLES, c_size_t, SIZES),
    ),
    "codec_enhancer_stream_flush": (c_int, c_void_p, SAMPLES, c_size_t, SIZES),
}


def load_library(path: Path) -> ctypes.CDLL:
    """Load libcodec and declare its functions."""
    library = ctypes.CDLL(str(path))
    for name, (result, *arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Model:
    """Weights that libcodec read: a path, or the bytes of a file. Threads may share it."""

    def __init__(
        self, library: ctypes.CDLL, weights: Path | bytes, instruction_set: str | None = None
    ) -> None:
        self.library, self.handle = library, c_void_p()
        reason = ctypes.create_string_buffer(200)
        name = instruction_set.encode() if instruction_set else None
        rest = (name, byref(self.handle), reason, len(reason))
        if isinstance(weights, bytes):
            status = library.codec_model_read(weights, len(weights), *rest)
        else:
            status = library.codec_model_open(str(weights).encode(), *rest)
        if status:
            raise LibraryError(status, reason.value.decode())
        self.info = Info()
        self.check(library.codec_model_info(self.handle, byref(self.info), ctypes.sizeof(Info)))

    def __del__(self) -> None:
        self.library.codec_model_free(self.handle)

    @property
    def instruction_set(self) -> str:
        return str(self.library.codec_model_instruction_set(self.handle).decode())

    def room(self, samples: int) -> Floats:
        """Make an array for so many samples, or pairs of them."""
        pair = () if self.info.channels == 1 else (self.info.channels,)
        return np.empty((samples, *pair), np.float32)

    def check(self, status: int) -> None:
        """Raise LibraryError unless `status` is CODEC_OK."""
        _check(self.library, status)

    def encode(self, samples: Floats, codebooks: int, paths: int = 1, steps: int = 0) -> Codes:
        """Encode float32 [samples], or pairs [samples, 2], to uint16 [codebooks, frames].

        paths, steps: of a search for codes that come closer to the audio.
        """
        frames = c_size_t(self.library.codec_frames(self.handle, len(samples)))
        codes = np.empty((codebooks, frames.value), np.uint16)
        given = (_floats(samples), len(samples), codebooks)
        out = (_codes(codes), frames.value, byref(frames))
        if (paths, steps) == (1, 0):
            status = self.library.codec_encode(self.handle, *given, *out)
        else:
            status = self.library.codec_encode_refined(self.handle, *given, paths, steps, *out)
        self.check(status)
        return codes[:, : frames.value]

    def decode(self, codes: Codes) -> Floats:
        """Decode uint16 [codebooks, frames] to float32 [samples], or pairs [samples, 2]."""
        held = np.ascontiguousarray(codes)
        levels, frames = held.shape
        samples, n = self.room(frames * self.info.hop_length), c_size_t()
        given = (_codes(held), frames, levels, frames)
        out = (_floats(samples), len(samples), byref(n))
        self.check(self.library.codec_decode(self.handle, *given, *out))
        return samples[: n.value]


class Encoder:
    """A codec_encoder: samples in, codes out as soon as they are certain."""

    def __init__(self, model: Model, codebooks: int) -> None:
        self.model, self.codebooks, self.handle = model, codebooks, c_void_p()
        model.check(model.library.codec_encoder_new(model.handle, codebooks, byref(self.handle)))

    def __del__(self) -> None:
        self.model.library.codec_encoder_free(self.handle)

    def set_beam(self, paths: int) -> None:
        """Search the codes with 1 to 64 paths from the next frame on."""
        self.model.check(self.model.library.codec_encoder_set_beam(self.handle, paths))

    def set_refine(self, steps: int) -> None:
        """Improve the codes by 0 to 1000 steps; before the first sample."""
        reason = ctypes.create_string_buffer(200)
        call = self.model.library.codec_encoder_set_refine
        if status := call(self.handle, steps, reason, len(reason)):
            raise LibraryError(status, reason.value.decode())

    def push(self, samples: Floats) -> Codes:
        ready = self.model.library.codec_encoder_ready(self.handle, len(samples))
        given = (_floats(samples), len(samples))
        return self._codes("push", given, ready)

    def flush(self) -> Codes:
        return self._codes("flush", (), self.model.library.codec_encoder_left(self.handle))

    def push_latents(self, samples: Floats) -> Floats:
        """Give latents float32 [frames, latent_dim]."""
        ready = self.model.library.codec_encoder_ready(self.handle, len(samples))
        return self._latents("push_latents", (_floats(samples), len(samples)), ready)

    def flush_latents(self) -> Floats:
        left = self.model.library.codec_encoder_left(self.handle)
        return self._latents("flush_latents", (), left)

    def save(self) -> bytes:
        return _save(self.model, "encoder", self.handle)

    def load(self, state: bytes) -> None:
        library = self.model.library
        self.model.check(library.codec_encoder_load(self.handle, state, len(state)))

    def reset(self) -> None:
        self.model.library.codec_encoder_reset(self.handle)

    def _codes(self, name: str, given: tuple[Any, ...], frames: int) -> Codes:
        codes, n = np.empty((self.codebooks, frames), np.uint16), c_size_t()
        call = getattr(self.model.library, f"codec_encoder_{name}")
        self.model.check(call(self.handle, *given, _codes(codes), frames, byref(n)))
        return codes[:, : n.value]

    def _latents(self, name: str, given: tuple[Any, ...], frames: int) -> Floats:
        latents, n = np.empty((frames, self.model.info.latent_dim), np.float32), c_size_t()
        call = getattr(self.model.library, f"codec_encoder_{name}")
        self.model.check(call(self.handle, *given, _floats(latents), frames, byref(n)))
        return latents[: n.value]


class Decoder:
    """A codec_decoder: codes in, samples out as soon as they are certain."""

    def __init__(self, model: Model) -> None:
        self.model, self.handle = model, c_void_p()
        model.check(model.library.codec_decoder_new(model.handle, byref(self.handle)))

    def __del__(self) -> None:
        self.model.library.codec_decoder_free(self.handle)

    def set_postfilter(self, on: bool) -> None:
        """Lower the noise between the harmonics of voices, or do not; before the first frame."""
        reason = ctypes.create_string_buffer(200)
        call = self.model.library.codec_decoder_set_postfilter
        if status := call(self.handle, on, reason, len(reason)):
            raise LibraryError(status, reason.value.decode())

    @property
    def latency(self) -> int:
        """Samples before the end of the last frame that still wait for what follows, at most."""
        return int(self.model.library.codec_decoder_latency(self.handle))

    def push(self, codes: Codes) -> Floats:
        held = np.ascontiguousarray(codes)
        levels, frames = held.shape
        ready = self.model.library.codec_decoder_ready(self.handle, frames)
        return self._samples("push", (_codes(held), frames, levels, frames), ready)

    def push_latents(self, latents: Floats) -> Floats:
        """Take latents float32 [frames, latent_dim]."""
        ready = self.model.library.codec_decoder_ready(self.handle, len(latents))
        return self._samples("push_latents", (_floats(latents), len(latents)), ready)

    def flush(self) -> Floats:
        return self._samples("flush", (), self.model.library.codec_decoder_left(self.handle))

    def save(self) -> bytes:
        return _save(self.model, "decoder", self.handle)

    def load(self, state: bytes) -> None:
        library = self.model.library
        self.model.check(library.codec_decoder_load(self.handle, state, len(state)))

    def reset(self) -> None:
        self.model.library.codec_decoder_reset(self.handle)

    def _samples(self, name: str, given: tuple[Any, ...], ready: int) -> Floats:
        samples, n = self.model.room(ready), c_size_t()
        call = getattr(self.model.library, f"codec_decoder_{name}")
        self.model.check(call(self.handle, *given, _floats(samples), ready, byref(n)))
        return samples[: n.value]


class Enhancer:
    """Weights of an enhancer for `model`: a path, or the bytes of a file. Threads may share it."""

    def __init__(
        self, model: Model, weights: Path | bytes, instruction_set: str | None = None
    ) -> None:
        self.library, self.handle = model.library, c_void_p()
        reason = ctypes.create_string_buffer(200)
        name = instruction_set.encode() if instruction_set else None
        rest = (name, byref(self.handle), reason, len(reason))
        if isinstance(weights, bytes):
            given = (weights, len(weights))
            status = self.library.codec_enhancer_read(model.handle, *given, *rest)
        else:
            path = str(weights).encode()
            status = self.library.codec_enhancer_open(model.handle, path, *rest)
        if status:
            raise LibraryError(status, reason.value.decode())

    def __del__(self) -> None:
        self.library.codec_enhancer_free(self.handle)

    def enhance(self, samples: Floats) -> Floats:
        """Enhance decoded audio float32 [samples] of one channel."""
        stream = EnhancerStream(self)
        return np.concatenate([stream.push(samples), stream.flush()])


class EnhancerStream:
    """A codec_enhancer_stream: decoded samples of one channel in, enhanced ones out."""

    def __init__(self, enhancer: Enhancer) -> None:
        self.enhancer, self.handle = enhancer, c_void_p()
        self.library = enhancer.library
        _check(
            self.library,
            self.library.codec_enhancer_stream_new(enhancer.handle, byref(self.handle)),
        )

    def __del__(self) -> None:
        self.library.codec_enhancer_stream_free(self.handle)

    def push(self, samples: Floats) -> Floats:
        ready = self.library.codec_enhancer_stream_ready(self.handle, len(samples))
        return self._samples("push", (_floats(samples), len(samples)), ready)

    def flush(self) -> Floats:
        left = self.library.codec_enhancer_stream_left(self.handle)
        return self._samples("flush", (), left)

    def reset(self) -> None:
        self.library.codec_enhancer_stream_reset(self.handle)

    def _samples(self, name: str, given: tuple[Any, ...], ready: int) -> Floats:
        samples, n = np.empty(ready, np.float32), c_size_t()
        call = getattr(self.library, f"codec_enhancer_stream_{name}")
        _check(self.library, call(self.handle, *given, _floats(samples), ready, byref(n)))
        return samples[: n.value]


def _check(library: ctypes.CDLL, status: int) -> None:
    if status:
        raise LibraryError(status, library.codec_status_text(status).decode())


def _save(model: Model, kind: str, handle: c_void_p) -> bytes:
    size = getattr(model.library, f"codec_{kind}_state_size")(handle)
    state = ctypes.create_string_buffer(size)
    model.check(getattr(model.library, f"codec_{kind}_save")(handle, state, size))
    return state.raw


def _floats(array: Floats) -> Any:
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    return array.ctypes.data_as(SAMPLES)


def _codes(array: Codes) -> Any:
    assert array.dtype == np.uint16
    assert array.flags.c_contiguous
    return array.ctypes.data_as(CODES)


def main() -> None:
    library = load_library(Path(sys.argv[1]))
    model = Model(library, Path(sys.argv[2]))
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 1.0
    time = np.arange(int(seconds * model.info.sample_rate)) / model.info.sample_rate
    sweep = (0.3 * np.sin(2 * np.pi * (200 + 400 * time) * time)).astype(np.float32)
    if model.info.channels == 2:
        sweep = np.stack([sweep, sweep], axis=1)

    codes = model.encode(sweep, 8)
    encoder = Encoder(model, 8)
    pieces = [encoder.push(sweep[i : i + 1000]) for i in range(0, len(sweep), 1000)]
    streamed = np.concatenate([*pieces, encoder.flush()], axis=1)
    print(f"libcodec {library.codec_version().decode()}, {model.instruction_set}")
    print(f"{len(sweep)} samples: {codes.shape[1]} frames of {len(codes)} codes")
    print(f"streamed codes are {'the same' if np.array_equal(codes, streamed) else 'DIFFERENT'}")
    print(f"{len(model.decode(codes))} samples decoded")


if __name__ == "__main__":
    main()
