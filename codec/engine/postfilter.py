"""A postfilter for voices: less noise between the harmonics of decoded audio.

It needs nothing but the decoded audio; csrc/engine/postfilter.h defines it to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from codec.audio.arrays import Audio
from codec.engine.windows import Window, in_windows
from codec.errors import BackendError
from codec.model.receptive_field import Reach
from codec.support.packages import needed
from codec.support.workers import Workers

MISSING = BackendError("the postfilter needs the native engine, which is not built")


class Grid(NamedTuple):
    """The stretches of audio that the postfilter treats one by one.

    hop: samples of each, from the first sample of the audio on. reach: hops that it sees besides.
    """

    hop: int
    reach: Reach

    @classmethod
    def of(cls, sample_rate: int) -> Grid:
        """Return that of audio at `sample_rate`.

        Raises BackendError unless the rate is 24 kHz and the native engine is built.
        """
        with needed("codec.engine._engine", MISSING):
            from codec.engine._engine import POSTFILTER_HOP, POSTFILTER_RATE, POSTFILTER_REACH
        if sample_rate != POSTFILTER_RATE:
            raise BackendError(
                f"the postfilter is for models of {POSTFILTER_RATE} Hz, not {sample_rate} Hz"
            )
        return cls(POSTFILTER_HOP, Reach(*POSTFILTER_REACH))

    def frames(self, hop_length: int) -> Reach:
        """Return the frames of `hop_length` samples before and after a frame that it depends on,
        where the audio may begin between two stretches."""
        before, after = ((hops + 1) * self.hop for hops in self.reach)
        return Reach(-(-before // hop_length), -(-after // hop_length))


def postfiltered(blocks: Iterable[Audio], sample_rate: int, workers: Workers) -> Iterator[Audio]:
    """Filter audio float32 [channels, samples], block by block, to as many samples.

    How it is cut into blocks changes nothing. Raises as `Grid.of` does, at once.
    """
    grid = Grid.of(sample_rate)
    from codec.engine._engine import postfilter

    def filtered(window: Window, channel: int) -> Audio:
        samples = np.concatenate([piece[channel] for piece in window.pieces])
        return postfilter(samples, window.start, window.stop)

    return in_windows(filtered, blocks, grid.hop, grid.reach, workers)
