"""Cross-entropy over all levels without keeping the scores.

The scores of a batch are a hundred times as large as what they are made of. Here they are made,
and turned into gradients at once, a piece that fits the cache at a time (as Liger's fused linear
cross-entropy does, arXiv 2410.10989).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

PIECE = 256  # frames
LEAST = 1e-30  # probability, whose logarithm is finite


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, embed: Tensor, targets: Tensor, count: int) -> Tensor:
        to_y = torch.empty_like(y)
        to_embed = torch.zeros(embed.shape, dtype=torch.float32, device=embed.device)
        losses = torch.zeros(len(y), device=y.device)
        for level, table in enumerate(embed.to(y.dtype)):
            for first in range(0, y.shape[1], PIECE):
                piece = slice(first, first + PIECE)
                states, wanted = y[level, piece], targets[level, piece]
                used = (wanted >= 0).unsqueeze(1)
                at = wanted.clamp(min=0).unsqueeze(1)
                slope = torch.softmax(states @ table.T, 1, dtype=torch.float32)
                chance = slope.gather(1, at).clamp_(min=LEAST)
                losses[level] -= (chance.log_() * used).sum()
                slope.scatter_add_(1, at, -torch.ones_like(at, dtype=slope.dtype))
                slope = slope.mul_(used).to(y.dtype)
                to_y[level, piece] = slope @ table
                to_embed[level] += slope.T @ states
        ctx.save_for_backward(to_y, to_embed)
        ctx.count = count
        return losses / count

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, Tensor, None, None]:
        to_y, to_embed = ctx.saved_tensors
        by_level = (above[0] / ctx.count).view(-1, 1, 1)
        return to_y * by_level.to(to_y.dtype), to_embed * by_level, None, None


def cross_entropy(y: Tensor, embed: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of each level in nats, float32 [levels].

    y: states [levels, N, width] whose scores are `y @ embed.T`. embed: [levels, size, width].
    targets: int64 [levels, N]; -1 does not count. The gradient is exact up to rounding.
    """
    count = max(1, int((targets[0] >= 0).sum()))
    losses: Tensor = _CrossEntropy.apply(y, embed, targets, count)  # type: ignore[no-untyped-call]
    return losses
