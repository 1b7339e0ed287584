"""Coding audio while it arrives: pushed in pieces of any size, with the tokens of the whole.

Sending, then receiving:

    encoder = model.stream_encoder(n_codebooks=12)
    for samples in microphone:
        send(encoder.push(samples))
    send(encoder.flush())

    decoder = model.stream_decoder()
    for codes in network:
        play(decoder.push(codes))
    play(decoder.flush())

A stream has one channel, at the model's sample rate; that of a model which codes two channels
together has a left and a right one, and its samples are [2, n] throughout.
"""

from __future__ import annotations

import struct
import threading
import zlib
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from codec.audio.arrays import as_samples
from codec.engine.backend import (
    DecoderNetwork,
    EncoderNetwork,
    RefinedNetwork,
    StreamingBackend,
    StreamingRefinement,
    beam_search,
    refinement,
)
from codec.engine.post import Post, decoder_network
from codec.errors import StateError
from codec.model.checks import check_audio, check_codebooks, check_codes
from codec.support.types import Codes

Floats = npt.NDArray[np.float32]

# A saved state: kind, id of the model or of the enhancer, which is for one model, codebooks, CRC-32
# of the rest; then the network's state.
_HEADER = struct.Struct("<4s8sHI")


class Stream:
    """The state that every kind of stream keeps. Threads may share one: calls wait their turn."""

    _kind: bytes
    _network: Any

    def __init__(
        self, backend: StreamingBackend, network: Any, n_codebooks: int, post: Post | None = None
    ) -> None:
        self._backend = backend
        self._weights_id = (post and post.identity) or backend.model_id
        self._network = network
        self._n_codebooks = n_codebooks
        self._lock = threading.Lock()
        self._state = np.empty(network.state_size, np.int64)
        self._ended = False
        network.reset(self._state)

    def reset(self) -> None:
        """Start again: what was pushed before is forgotten."""
        with self._lock:
            self._network.reset(self._state)
            self._ended = False

    def save(self) -> bytes:
        """Return the state, from which `restore` goes on: in this process or in another, on any
        machine, with any instruction set. Its size is constant, and small; with `refine` it holds
        the audio of a window, 0.6 MB with the shipped model."""
        with self._lock:
            data = self._state.astype("<i8").tobytes()
            head = (self._kind, self._weights_id, self._n_codebooks, zlib.crc32(data))
            return _HEADER.pack(*head) + data

    def restore(self, saved: bytes) -> None:
        """Go on from what `save` returned.

        Raises StateError, and changes nothing, unless it was saved by a stream of the same
        direction, model and number of codebooks, with the same of `refine`, `postfilter` and
        `enhance`, and is intact.
        """
        if not isinstance(saved, bytes | bytearray | memoryview):
            raise StateError(f"a saved state is bytes, not {type(saved).__name__}")
        saved = bytes(saved)
        if len(saved) != _HEADER.size + self._state.nbytes:
            raise StateError("not a saved state of this kind of stream: its size is wrong")
        kind, weights_id, n_codebooks, crc = _HEADER.unpack_from(saved)
        if kind != self._kind:
            raise StateError("not a saved state of this kind of stream")
        if weights_id != self._weights_id or n_codebooks != self._n_codebooks:
            raise StateError("the saved state is of another model, enhancer or number of codebooks")
        data = saved[_HEADER.size :]
        state = np.frombuffer(data, "<i8").astype(np.int64)
        if zlib.crc32(data) != crc or not self._network.valid(state):
            raise StateError("the saved state is damaged")
        with self._lock:
            self._state = state
            self._ended = self._network.ended(state)

    def __reduce__(self) -> tuple[Any, ...]:
        return _resumed, (type(self), self._made_from(), self.save())

    def _made_from(self) -> tuple[Any, ...]:
        """Return the arguments that make another stream like this one."""
        return (self._backend,)

    def _check_open(self) -> None:
        if self._ended:
            raise StateError("the stream has ended: reset() starts another")


class StreamEncoder(Stream):
    """Samples in, codes out as soon as they are certain. Made by `Codec.stream_encoder`.

    n_codebooks: by default all. beam: paths of the search for the codes, 1 unless the backend is a
    `BeamSearch`. refine: steps that improve the codes, 0 unless it is a `StreamingRefinement`.
    Raises BitrateError, BackendError.
    """

    _network: EncoderNetwork | RefinedNetwork

    def __init__(
        self,
        backend: StreamingBackend,
        n_codebooks: int | None = None,
        beam: int = 1,
        refine: int = 0,
    ) -> None:
        count = backend.config.n_codebooks if n_codebooks is None else n_codebooks
        check_codebooks(count, backend.config)
        self._search: tuple[int, ...] = (count,)
        network: EncoderNetwork | RefinedNetwork = backend.encoder
        self._kind = b"NACe"
        if refine:
            refinement(backend)
            self._search = (count, beam, refine)
            network = cast(StreamingRefinement, backend).refiner
            self._kind = b"NACr"
        elif beam > 1:
            beam_search(backend)
            self._search = (count, beam)
        super().__init__(backend, network, count)
        self._hop, self._channels = backend.config.hop_length, backend.config.channels

    def _made_from(self) -> tuple[Any, ...]:
        return (self._backend, *self._search)

    @property
    def latency(self) -> int:
        """Samples that arrive from the first of a frame until its codes come out, at most; with
        `refine` that is a window and what its steps see behind it."""
        return self._hop + int(self._network.lookahead)

    def push(self, samples: npt.ArrayLike) -> Codes:
        """Take `samples` [n], n >= 0, at the model's rate; give codes uint16 [n_codebooks, frames].

        samples: float32 or float64 with full scale ±1, or int16, as for `Codec.encode`.
        Raises AudioError as `Codec.encode` does, or StateError after `flush`. What raises, and
        Ctrl-C between two steps of `refine`, leaves the stream as it was.
        """
        return self.push_resampled(as_samples(samples))

    def push_resampled(self, samples: Floats) -> Codes:
        """Do as `push` with float32 of any finite peak.

        Resampling raises the peak of audio that was checked before it. Raises as `push` does.
        """
        checked = check_audio(samples, self._channels)
        with self._lock:
            self._check_open()
            return self._network.push(self._state, checked, *self._search)

    def flush(self) -> Codes:
        """End the stream; give the codes that are left, uint16 [n_codebooks, frames].

        With them there are ceil(samples / hop_length) frames in all. Raises StateError if the
        stream has ended already.
        """
        with self._lock:
            self._check_open()
            codes = self._network.flush(self._state, *self._search)
            self._ended = True
        return codes


class StreamDecoder(Stream):
    """Codes in, samples out as soon as they are certain. Made by `Codec.stream_decoder`.

    post: what improves the samples, as in `Codec.decode`.
    """

    _network: DecoderNetwork

    def __init__(self, backend: StreamingBackend, post: Post | None = None) -> None:
        self._post = post
        self._kind = {None: b"NACd", "postfilter": b"NACf", "enhancer": b"NACn"}[post and post.name]
        super().__init__(backend, decoder_network(backend, post), 0, post)
        self._config = backend.config

    def _made_from(self) -> tuple[Any, ...]:
        return (self._backend, self._post)

    @property
    def latency(self) -> int:
        """Samples between the end of the output and the end of the last frame that was pushed, at
        most: if the stretches that `post` improves do not divide frames, there may be fewer."""
        return int(self._network.lookahead)

    def push(self, codes: npt.ArrayLike) -> Floats:
        """Take `codes` [1 to Q codebooks, frames], frames >= 0; give samples float32 [n] at the
        model's rate.

        codes: integers of any dtype, as for `Codec.tokens`. The first sample out belongs to the
        first sample of the first frame. The number of codebooks may change from call to call.
        Raises TokensError, or StateError after `flush`.
        """
        checked = check_codes(codes, self._config)
        with self._lock:
            self._check_open()
            audio: Floats = self._network.push(self._state, checked)
        return audio

    def flush(self) -> Floats:
        """End the stream; give the samples that are left, float32 [n].

        With them there are frames * hop_length samples in all. Raises StateError if the stream
        has ended already.
        """
        with self._lock:
            self._check_open()
            audio: Floats = self._network.flush(self._state)
            self._ended = True
        return audio


def _resumed(kind: type[Stream], made_from: tuple[Any, ...], saved: bytes) -> Stream:
    stream = kind(*made_from)
    stream.restore(saved)
    return stream
