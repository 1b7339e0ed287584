"""What may follow the decoder: something that is done to its audio, stretch by stretch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from codec.audio.arrays import Audio
from codec.engine.backend import DecoderNetwork, State, StreamingBackend
from codec.engine.windows import Window, in_windows
from codec.errors import OptionError
from codec.model.receptive_field import Reach
from codec.support.arguments import as_bool
from codec.support.types import Codes
from codec.support.workers import Workers

# "usual": the enhancer where the model has one.
Wanted = Literal["postfilter", "enhancer", "usual"]


def wanted(*, postfilter: bool, enhance: bool) -> Wanted | None:
    """Name what is asked for, or None. Raises OptionError if that is both, or no truth value."""
    postfilter = as_bool(postfilter, "postfilter", OptionError)
    enhance = as_bool(enhance, "enhance", OptionError)
    if postfilter and enhance:
        raise OptionError("choose the postfilter or the enhancer, not both")
    return "enhancer" if enhance else "postfilter" if postfilter else None


class PostStream(Protocol):
    """Improves streams of one channel, whose states are int64 [state_size]."""

    @property
    def state_size(self) -> int:
        """Values of a state."""

    def reset(self, state: State, /) -> None:
        """Make `state` that of a stream in which nothing was pushed."""

    def valid(self, states: State, /) -> bool:
        """Tell whether states [channels, state_size] of any origin are safe to go on from."""

    def push(self, state: State, audio: Audio, last: bool = False, /) -> Audio:
        """Return the samples that are final after `audio` [samples], or all that are left."""


class Post(NamedTuple):
    """A way to improve decoded audio.

    name: what it is. made_by: a function and its arguments that make it again in another process.
    hop: samples of a stretch, from the first sample of the audio on. reach: stretches that it sees
    besides. run: takes audio float32 [samples] and two numbers, and gives the samples of the
    stretches from the one to before the other. stream: does the same piece by piece. span:
    stretches that are worked on together, where memory asks for few. identity: of its weights, 8
    bytes, if it has any.
    """

    name: Literal["postfilter", "enhancer"]
    made_by: tuple[Callable[..., Post], tuple[Any, ...]]
    hop: int
    reach: Reach
    run: Callable[[Audio, int, int], Audio]
    stream: PostStream
    span: int | None = None
    identity: bytes | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return self.made_by

    def frames(self, hop_length: int) -> Reach:
        """Return the frames of `hop_length` samples before and after a frame that it depends on,
        where the audio may begin between two stretches."""
        before, after = ((hops + 1) * self.hop for hops in self.reach)
        return Reach(-(-before // hop_length), -(-after // hop_length))

    def blocks(self, blocks: Iterable[Audio], workers: Workers) -> Iterator[Audio]:
        """Improve audio float32 [channels, samples], block by block, to as many samples.

        How it is cut into blocks changes nothing.
        """

        def improved(window: Window, channel: int) -> Audio:
            samples = np.concatenate([piece[channel] for piece in window.pieces])
            return self.run(samples, window.start, window.stop)

        spans = None if self.span is None else itertools.repeat(self.span)
        return in_windows(improved, blocks, self.hop, self.reach, workers, spans)


class ImprovedDecoder:
    """A `DecoderNetwork` that improves what another one, of a backend, gives.

    Its state is that of the network, then that of the improvement for each channel.
    """

    def __init__(self, backend: StreamingBackend, post: Post) -> None:
        self._post, self._network = post, backend.decoder
        self._hop, self._channels = backend.config.hop_length, backend.config.channels
        self._own = self._network.state_size

    @property
    def state_size(self) -> int:
        """Values of the state."""
        return self._own + self._channels * self._post.stream.state_size

    @property
    def lookahead(self) -> int:
        """Samples before the end of the last frame that still wait for what follows, at most."""
        post, own = self._post, self._network.lookahead
        # Whole stretches come out; frames begin at multiples of `step` within them.
        step = math.gcd(self._hop, post.hop)
        return own + -own % step + post.hop - step + post.reach.after * post.hop

    def _planes(self, state: State) -> State:
        """Return the states of the improvement, one for each channel."""
        return state[self._own :].reshape(self._channels, -1)

    def reset(self, state: State) -> None:
        """Make `state` that of a stream in which nothing was pushed."""
        self._network.reset(state[: self._own])
        for one in self._planes(state):
            self._post.stream.reset(one)

    def valid(self, state: State) -> bool:
        """Check a `state` from any origin: tell whether this network can go on from it."""
        valid = self._post.stream.valid(self._planes(state))
        return valid and self._network.valid(state[: self._own])

    def ended(self, state: State) -> bool:
        """Tell whether the stream of `state` was flushed."""
        return self._network.ended(state[: self._own])

    def push(self, state: State, codes: Codes) -> Audio:
        """Take codes [1 to Q, frames]; give the improved samples that are final now."""
        return self._improved(state, self._network.push(state[: self._own], codes))

    def push_latents(self, state: State, latents: Audio) -> Audio:
        """Take latents [frames, dim]; give the improved samples that are final now."""
        return self._improved(state, self._network.push_latents(state[: self._own], latents))

    def flush(self, state: State) -> Audio:
        """End the stream; give the improved samples that are left."""
        return self._improved(state, self._network.flush(state[: self._own]), last=True)

    def _improved(self, state: State, audio: Audio, last: bool = False) -> Audio:
        """Improve samples [n], or [2, n] of two channels."""
        planes = np.ascontiguousarray(audio).reshape(self._channels, -1)
        improved = np.stack(
            [
                self._post.stream.push(one, plane, last)
                for one, plane in zip(self._planes(state), planes, strict=True)
            ]
        )
        return improved[0] if audio.ndim == 1 else improved


def decoder_network(backend: StreamingBackend, post: Post | None) -> DecoderNetwork:
    """Return the network of a stream that decodes with `post`, or without."""
    return ImprovedDecoder(backend, post) if post else backend.decoder
