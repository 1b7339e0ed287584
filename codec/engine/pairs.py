"""Channels of audio as a model takes them: one by one, or two together as left and right.

Of an odd number of channels the last is a pair of itself: its mid is the channel to the bit, and
its side is zero. What comes back for it is the mean of the pair, which is the mid up to rounding,
so that what the decoder puts into the side is not heard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

Audio = npt.NDArray[np.float32]


def paired(blocks: Iterable[Audio], together: int) -> Iterator[Audio]:
    """Give blocks [channels, samples] as [streams, together, samples]; as they are if that is 1."""
    for block in blocks:
        if together == 1:
            yield block
            continue
        whole = np.concatenate([block, block[-1:]]) if len(block) % together else block
        yield whole.reshape(-1, together, block.shape[1])


def unpaired(blocks: Iterable[Audio], channels: int, together: int) -> Iterator[Audio]:
    """Invert `paired`: give [channels, samples]."""
    for block in blocks:
        if together == 1:
            yield block
            continue
        flat = block.reshape(-1, block.shape[-1])
        if channels % together:
            mean = (flat[-2] + flat[-1]) * np.float32(0.5)
            flat = np.concatenate([flat[: channels - 1], mean[None]])
        yield flat
