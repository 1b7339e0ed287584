"""A postfilter for voices: less noise between the harmonics of decoded audio.

It needs nothing but the decoded audio; csrc/engine/postfilter.h defines it to the bit.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from codec.engine.backend import State, StreamingBackend
from codec.engine.post import Post
from codec.errors import BackendError
from codec.model.receptive_field import Reach
from codec.support.packages import needed
from codec.support.types import Codes

Floats = npt.NDArray[np.float32]

MISSING = BackendError("the postfilter needs the native engine, which is not built")


def postfilter_at(sample_rate: int) -> Post:
    """Return the postfilter for audio at `sample_rate`.

    Raises BackendError unless the rate is 24 kHz and the native engine is built.
    """
    with needed("codec.engine._engine", MISSING):
        from codec.engine import _engine
    if sample_rate != _engine.POSTFILTER_RATE:
        raise BackendError(
            f"the postfilter is for models of {_engine.POSTFILTER_RATE} Hz, not {sample_rate} Hz"
        )
    return Post(_engine.POSTFILTER_HOP, Reach(*_engine.POSTFILTER_REACH), _engine.postfilter)


class PostfilteredDecoder:
    """A `DecoderNetwork` that filters what another one, of a backend, gives.

    Its state is that of the network, then that of the filter for each channel. Raises as
    `postfilter_at`.
    """

    def __init__(self, backend: StreamingBackend) -> None:
        config = backend.config
        self._post = postfilter_at(config.sample_rate)
        from codec.engine import _engine

        self._engine, self._network, self._hop = _engine, backend.decoder, config.hop_length
        self._channels, self._own = config.channels, self._network.state_size

    @property
    def state_size(self) -> int:
        """Values of the state."""
        return self._own + self._channels * self._engine.POSTFILTER_STATE

    @property
    def lookahead(self) -> int:
        """Samples before the end of the last frame that still wait for what follows, at most."""
        post, own = self._post, self._network.lookahead
        # Whole stretches come out; frames begin at multiples of `step` within them.
        step = math.gcd(self._hop, post.hop)
        return own + -own % step + post.hop - step + post.reach.after * post.hop

    def _filters(self, state: State) -> State:
        """Return the states of the filter, one for each channel."""
        return state[self._own :].reshape(self._channels, -1)

    def reset(self, state: State) -> None:
        """Make `state` that of a stream in which nothing was pushed."""
        self._network.reset(state[: self._own])
        for one in self._filters(state):
            self._engine.postfilter_reset(one)

    def valid(self, state: State) -> bool:
        """Check a `state` from any origin: tell whether this network can go on from it."""
        valid = self._engine.postfilter_valid(self._filters(state))
        return valid and self._network.valid(state[: self._own])

    def ended(self, state: State) -> bool:
        """Tell whether the stream of `state` was flushed."""
        return self._network.ended(state[: self._own])

    def push(self, state: State, codes: Codes) -> Floats:
        """Take codes [1 to Q, frames]; give the filtered samples that are final now."""
        return self._filtered(state, self._network.push(state[: self._own], codes))

    def push_latents(self, state: State, latents: Floats) -> Floats:
        """Take latents [frames, dim]; give the filtered samples that are final now."""
        return self._filtered(state, self._network.push_latents(state[: self._own], latents))

    def flush(self, state: State) -> Floats:
        """End the stream; give the filtered samples that are left."""
        return self._filtered(state, self._network.flush(state[: self._own]), last=True)

    def _filtered(self, state: State, audio: Floats, last: bool = False) -> Floats:
        """Filter samples [n], or [2, n] of two channels."""
        planes = np.ascontiguousarray(audio).reshape(self._channels, -1)
        filtered = np.stack(
            [
                self._engine.postfilter_push(one, plane, last)
                for one, plane in zip(self._filters(state), planes, strict=True)
            ]
        )
        return filtered[0] if audio.ndim == 1 else filtered
