"""Draws a code from scores: temperature, top-k and top-p."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from codec.errors import OptionError
from codec.support.arguments import real, whole

# Below it scores overflow when they are divided, and the best code has all the chance.
_COLDEST = 1e-30


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How codes are drawn. Raises OptionError on a value that makes no sense.

    temperature: by which scores are divided; 0 takes the best code always.
    top_k: draw among this many best codes; None for all.
    top_p: draw among the fewest best codes whose probabilities sum to this (nucleus sampling,
        arXiv 1904.09751); None for all.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        temperature = real(self.temperature, "the temperature", OptionError)
        top_k = None if self.top_k is None else whole(self.top_k, "top_k", OptionError)
        top_p = None if self.top_p is None else real(self.top_p, "top_p", OptionError)
        if not 0 <= temperature < float("inf"):
            raise OptionError(f"a temperature is 0 or more, not {temperature}")
        if top_k is not None and top_k < 1:
            raise OptionError(f"top_k is at least 1, not {top_k}")
        if top_p is not None and not 0 < top_p <= 1:
            raise OptionError(f"top_p is above 0 and at most 1, not {top_p}")
        for name, value in (("temperature", temperature), ("top_k", top_k), ("top_p", top_p)):
            object.__setattr__(self, name, value)  # frozen from here on


def draw(scores: Tensor, sampling: Sampling, chance: Tensor) -> Tensor:
    """Draw a code, int64 scalar, by `scores` [codebook_size], float32.

    chance: uniform in [0, 1), a scalar. The same arguments give the same code.
    """
    if sampling.temperature < _COLDEST:
        return scores.argmax()
    logs = scores / sampling.temperature
    size = len(logs)
    if sampling.top_k is not None and sampling.top_k < size:
        least = torch.topk(logs, sampling.top_k).values[-1]
        logs = logs.masked_fill(logs < least, float("-inf"))
    chances = torch.softmax(logs, 0)
    if sampling.top_p is not None and sampling.top_p < 1:
        ordered, order = chances.sort(descending=True, stable=True)
        # a code stays while those before it do not reach top_p
        beyond = ordered.cumsum(0) - ordered >= sampling.top_p
        beyond[0] = False  # float32 rounds a top_p that is small enough to 0
        chances = chances.index_fill(0, order[beyond], 0.0)
    ends = chances.cumsum(0)
    place = torch.searchsorted(ends, chance * ends[-1], right=True)
    # Rounding can put the draw behind the last code that has a chance.
    return place.clamp(max=int(chances.nonzero()[-1]))
