"""Signals for networks and losses, in torch."""

from __future__ import annotations

import torch
from torch import Tensor


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Draw white noise of deviation 0.1."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) / 10
