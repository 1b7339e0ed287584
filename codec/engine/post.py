"""What may follow the decoder: something that is done to its audio, stretch by stretch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np

from codec.audio.arrays import Audio
from codec.engine.windows import Window, in_windows
from codec.errors import OptionError
from codec.model.receptive_field import Reach
from codec.support.workers import Workers

Wanted = Literal["postfilter", "enhancer"]


def wanted(*, postfilter: bool, enhance: bool) -> Wanted | None:
    """Name what is asked for, or None. Raises OptionError if that is both."""
    if postfilter and enhance:
        raise OptionError("choose the postfilter or the enhancer, not both: it knows the period")
    return "enhancer" if enhance else "postfilter" if postfilter else None


class Post(NamedTuple):
    """A way to improve decoded audio.

    hop: samples of a stretch, from the first sample of the audio on. reach: stretches that it sees
    besides. run: takes audio float32 [samples] and two numbers, and gives the samples of the
    stretches from the one to before the other. span: stretches that are worked on together, where
    memory asks for few.
    """

    hop: int
    reach: Reach
    run: Callable[[Audio, int, int], Audio]
    span: int | None = None

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
