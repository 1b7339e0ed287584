"""Continuous latents: what the encoder gives to the quantiser, and audio from them.

They are float32 [dim, frames], before any codebook, at the frame rate of the tokens. The same
audio gives the same latents, to the bit, on every machine, whole or in pieces; and so do the same
latents the same audio. A model of diffusion or flow matching works on them (Evans et al., "Stable
Audio Open", 2024), and so does a language model with continuous output.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.audio.arrays import as_samples
from codec.engine.backend import DecoderNetwork, EncoderNetwork, StreamingBackend
from codec.engine.post import Post, decoder_network
from codec.engine.stream import Stream
from codec.engine.windows import Window, in_windows
from codec.errors import TokensError
from codec.model.checks import check_audio
from codec.model.config import ModelConfig
from codec.model.latent_scale import LatentScale
from codec.model.receptive_field import decoder_reach, encoder_reach
from codec.support.arguments import as_array, shown
from codec.support.workers import Workers

Floats = npt.NDArray[np.float32]

LARGEST = np.float32(1e30)  # the decoder's sums of squares stay finite below it


def encode_latent_spans(
    backend: StreamingBackend, blocks: Iterable[Floats], workers: Workers
) -> Iterator[Floats]:
    """Encode to latents float32 [channels, dim, frames], a span at a time.

    blocks: float32 [channels, samples] at the model's rate, one after another, of any length; of a
        model that codes two channels together, as `codec.engine.pairs` makes them.
    """
    network = backend.encoder

    def encode(window: Window, channel: int) -> Floats:
        samples = np.concatenate([piece[channel] for piece in window.pieces], axis=-1)
        state = _new_state(network)
        found = [network.push_latents(state, samples), network.flush_latents(state)]
        return np.concatenate(found)[window.start : window.stop].T

    config = backend.config
    return in_windows(encode, blocks, config.hop_length, encoder_reach(config), workers)


def decode_latent_spans(
    backend: StreamingBackend, pieces: Iterable[Floats], workers: Workers
) -> Iterator[Floats]:
    """Decode to audio float32 [channels, samples] at the model's rate, a span at a time.

    pieces: latents float32 [channels, dim, frames], one after another. Of a model that codes two
        channels together the audio is [pairs, 2, samples].
    """
    network, hop = backend.decoder, backend.config.hop_length

    def decode(window: Window, channel: int) -> Floats:
        latents = np.concatenate([piece[channel] for piece in window.pieces], axis=1)
        state = _new_state(network)
        rows = np.ascontiguousarray(latents.T)
        pieces = [network.push_latents(state, rows), network.flush(state)]
        audio = np.concatenate(pieces, axis=-1)
        return audio[..., window.start * hop : window.stop * hop]

    return in_windows(decode, pieces, 1, decoder_reach(backend.config), workers)


def check_latents(latents: npt.ArrayLike, config: ModelConfig) -> Floats:
    """Convert `latents` to float32 [channels, dim, frames].

    latents: floats of any dtype, [dim, frames] or [channels, dim, frames]: a NumPy array, lists,
        or a PyTorch tensor. Raises TokensError on another shape or dtype, and on values that are
        not finite or beyond ±1e30.
    """
    if isinstance(latents, str | bytes):
        raise TokensError(f"latents must be an array of floats, not {shown(latents)}")
    try:
        array = as_array(latents)
    except ValueError as error:
        raise TokensError(f"latents are no array of floats: {error}") from None
    if array.dtype.kind != "f":
        raise TokensError(f"latents must be floats, not {array.dtype}")
    dim = config.latent_dim
    if array.ndim not in (2, 3) or array.shape[-2] != dim or not len(array):
        raise TokensError(
            f"latents must be [{dim}, frames] or [channels, {dim}, frames], not {list(array.shape)}"
        )
    if array.ndim == 2:
        array = array[None]
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, np.float32)
    if values.size and not (np.abs(values) <= LARGEST).all():
        raise TokensError("latents must be finite numbers within ±1e30")
    return values


def restored(latents: Floats, scale: LatentScale) -> Floats:
    """Undo `scale` on latents float32 [dim, frames] that were checked.

    Raises TokensError on values that are then beyond ±1e30.
    """
    with np.errstate(over="ignore"):
        values = scale.restore(latents)
    if values.size and not (np.abs(values) <= LARGEST).all():
        raise TokensError("latents must be within ±1e30 when the model's scale is undone")
    return values


class LatentStreamEncoder(Stream):
    """Samples in, latents out as soon as they are certain. Made by `Codec.stream_encoder`.

    scale: to normalise the latents by; None to give them as the network does.
    """

    _kind = b"NACl"
    _network: EncoderNetwork

    def __init__(self, backend: StreamingBackend, scale: LatentScale | None = None) -> None:
        super().__init__(backend, backend.encoder, 0)
        self._hop, self._channels = backend.config.hop_length, backend.config.channels
        self._scale = scale

    @property
    def latency(self) -> int:
        """Samples that arrive from the first of a frame until its latents come out, at most."""
        return self._hop + int(self._network.lookahead)

    def push(self, samples: npt.ArrayLike) -> Floats:
        """Take `samples` [n], n >= 0, at the model's rate; give latents float32 [dim, frames].

        samples: as for `StreamEncoder.push`. Raises AudioError, or StateError after `flush`.
        """
        checked = check_audio(as_samples(samples), self._channels)
        with self._lock:
            self._check_open()
            latents = self._network.push_latents(self._state, checked)
        return self._scaled(latents)

    def flush(self) -> Floats:
        """End the stream; give the latents that are left, float32 [dim, frames].

        With them there are ceil(samples / hop_length) frames in all. Raises StateError if the
        stream has ended already.
        """
        with self._lock:
            self._check_open()
            latents = self._network.flush_latents(self._state)
            self._ended = True
        return self._scaled(latents)

    def _scaled(self, latents: Floats) -> Floats:
        columns = np.ascontiguousarray(latents.T)
        return self._scale.normalise(columns) if self._scale else columns

    def _made_from(self) -> tuple[Any, ...]:
        return (self._backend, self._scale)


class LatentStreamDecoder(Stream):
    """Latents in, samples out as soon as they are certain. Made by `Codec.stream_decoder`.

    scale: by which the latents were normalised; None if they were not. post: as for
        `StreamDecoder`.
    """

    _network: DecoderNetwork

    def __init__(
        self,
        backend: StreamingBackend,
        scale: LatentScale | None = None,
        post: Post | None = None,
    ) -> None:
        self._post = post
        self._kind = {None: b"NACm", "postfilter": b"NACg", "enhancer": b"NACo"}[post and post.name]
        super().__init__(backend, decoder_network(backend, post), 0, post)
        self._config = backend.config
        self._scale = scale

    @property
    def latency(self) -> int:
        """Samples between the end of the output and the end of the last frame that was pushed, at
        most, as of a `StreamDecoder`."""
        return int(self._network.lookahead)

    def push(self, latents: npt.ArrayLike) -> Floats:
        """Take `latents` [dim, frames], frames >= 0; give samples float32 [n] at the model's rate.

        Raises TokensError, or StateError after `flush`.
        """
        checked = check_latents(latents, self._config)
        if len(checked) != 1:
            raise TokensError(f"a stream is of one channel, not {len(checked)}")
        columns = restored(checked[0], self._scale) if self._scale else checked[0]
        rows = np.ascontiguousarray(columns.T)
        with self._lock:
            self._check_open()
            return self._network.push_latents(self._state, rows)

    def flush(self) -> Floats:
        """End the stream; give the samples that are left, float32 [n].

        With them there are frames * hop_length samples in all. Raises StateError if the stream
        has ended already.
        """
        with self._lock:
            self._check_open()
            audio = self._network.flush(self._state)
            self._ended = True
        return audio

    def _made_from(self) -> tuple[Any, ...]:
        return (self._backend, self._scale, self._post)


def _new_state(network: EncoderNetwork | DecoderNetwork) -> npt.NDArray[np.int64]:
    state = np.empty(network.state_size, np.int64)
    network.reset(state)
    return state
