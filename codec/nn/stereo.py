"""Left and right as mid and side, and back."""

from __future__ import annotations

import torch
from torch import Tensor


def mid_and_side(audio: Tensor) -> Tensor:
    """Compute (left + right) / 2 and (left - right) / 2, [batch, 2, samples].

    Rounded as the engine does it: halves first, so that a pair of equal channels has the channel
    itself as its mid and a side of zeros.
    """
    left, right = (0.5 * audio).unbind(1)
    return torch.stack([left + right, left - right], 1)


def left_and_right(audio: Tensor) -> Tensor:
    """Compute mid + side and mid - side, [batch, 2, samples]."""
    mid, side = audio.unbind(1)
    return torch.stack([mid + side, mid - side], 1)
