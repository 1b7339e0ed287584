"""Coding audio while it arrives: pushed in pieces of any size, with the tokens of the whole.

Sending, then receiving:

    encoder = StreamEncoder(backend)
    for samples in microphone:
        send(encoder.push(samples))
    send(encoder.flush())

    decoder = StreamDecoder(backend)
    for codes in network:
        play(decoder.push(codes))
    play(decoder.flush())
"""

from __future__ import annotations

import struct
import threading
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.engine.native import NativeBackend, check_audio, check_codebooks, check_codes
from codec.errors import StateError

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint16]

# A saved state: what it is of, model id, codebooks, CRC-32 of the rest; then the engine's bytes.
_HEADER = struct.Struct("<4s8sHI")


class _Stream:
    """The state that both directions keep; one call at a time, of whichever thread."""

    _kind: bytes

    def __init__(self, backend: NativeBackend, network: Any, n_codebooks: int) -> None:
        self._model_id = backend.model_id
        self._network = network
        self._n_codebooks = n_codebooks
        self._lock = threading.Lock()
        self._state = np.empty(network.state_size, np.int64)
        self._ended = False
        network.reset(self._state)

    def reset(self) -> None:
        """Start anew: what was pushed before is forgotten."""
        with self._lock:
            self._network.reset(self._state)
            self._ended = False

    def save(self) -> bytes:
        """The state, small and of constant size, from which `restore` goes on: also in another
        process, on another machine, with another instruction set."""
        with self._lock:
            data = self._state.astype("<i8").tobytes()
            head = (self._kind, self._model_id, self._n_codebooks, zlib.crc32(data))
            return _HEADER.pack(*head) + data

    def restore(self, saved: bytes) -> None:
        """Go on from what `save` returned. Raises StateError, and changes nothing, unless it is of
        a stream like this one: direction, model and number of codebooks."""
        if len(saved) != _HEADER.size + self._state.nbytes:
            raise StateError("not a saved state of such a stream: its size is wrong")
        kind, model_id, n_codebooks, crc = _HEADER.unpack_from(saved)
        if kind != self._kind:
            raise StateError("not a saved state of such a stream")
        if model_id != self._model_id or n_codebooks != self._n_codebooks:
            raise StateError("a saved state of another model, or of other codebooks")
        data = saved[_HEADER.size :]
        state = np.frombuffer(data, "<i8").astype(np.int64)
        if zlib.crc32(data) != crc or not self._network.valid(state):
            raise StateError("a saved state that is damaged")
        with self._lock:
            self._state = state
            self._ended = self._network.ended(state)

    def _check_open(self) -> None:
        if self._ended:
            raise StateError("the stream has ended: reset() starts another")


class StreamEncoder(_Stream):
    """Samples in, codes out as soon as they are certain. n_codebooks: None for all.

    Raises BitrateError.
    """

    _kind = b"NACe"

    def __init__(self, backend: NativeBackend, n_codebooks: int | None = None) -> None:
        count = backend.config.n_codebooks if n_codebooks is None else n_codebooks
        check_codebooks(count, backend.config)
        super().__init__(backend, backend.encoder, count)
        self._hop = backend.config.hop_length

    @property
    def latency(self) -> int:
        """Samples from a sample's arrival to that of the last one its frame waits for, at most."""
        return self._hop + int(self._network.lookahead)

    def push(self, samples: Floats) -> Codes:
        """`samples` float32 [n], n >= 0, at the model's rate -> codes uint16 [n_codebooks, frames].

        Raises AudioError, or StateError after `flush`.
        """
        checked = check_audio(samples)
        with self._lock:
            self._check_open()
            codes: Codes = self._network.push(self._state, checked, self._n_codebooks)
        return codes

    def flush(self) -> Codes:
        """The codes that are left, uint16 [n_codebooks, frames], and the end of the stream.

        With them there are ceil(samples / hop_length) frames in all.
        """
        with self._lock:
            self._check_open()
            codes: Codes = self._network.flush(self._state, self._n_codebooks)
            self._ended = True
        return codes


class StreamDecoder(_Stream):
    """Codes in, samples out as soon as they are certain."""

    _kind = b"NACd"

    def __init__(self, backend: NativeBackend) -> None:
        super().__init__(backend, backend.decoder, 0)
        self._config = backend.config

    @property
    def latency(self) -> int:
        """Samples by which the output stays behind the end of the last frame pushed."""
        return int(self._network.lookahead)

    def push(self, codes: Codes) -> Floats:
        """`codes` uint16 [1 to Q, frames], frames >= 0 -> samples float32 [n] at the model's rate.

        The first sample out belongs to the first frame's first. The number of codebooks may change
        from call to call. Raises TokensError, or StateError after `flush`.
        """
        checked = check_codes(codes, self._config)
        with self._lock:
            self._check_open()
            audio: Floats = self._network.push(self._state, checked)
        return audio

    def flush(self) -> Floats:
        """The samples that are left, float32 [n], and the end of the stream.

        With them there are frames * hop_length samples in all.
        """
        with self._lock:
            self._check_open()
            audio: Floats = self._network.flush(self._state)
            self._ended = True
        return audio
