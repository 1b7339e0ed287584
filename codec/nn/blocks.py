"""Causal convolution blocks at the frame rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DepthwiseConv(nn.Module):
    """Depthwise convolution over time with a bounded look-ahead. [batch, n, dim] -> the same.

        output t sees inputs   t - (kernel - 1 - lookahead) ... t ... t + lookahead

    A sum of shifted products: on a CPU faster than a grouped conv1d, which would also want the
    channels first.
    """

    def __init__(self, dim: int, kernel_size: int, lookahead: int = 0) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.lookahead = lookahead
        self.weight = nn.Parameter(torch.randn(kernel_size, dim) / kernel_size**0.5)
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[1]
        padded = F.pad(x, (0, 0, self.kernel_size - 1 - self.lookahead, self.lookahead))
        out = self.bias + padded[:, :n] * self.weight[0]
        for k in range(1, self.kernel_size):
            out = out + padded[:, k : k + n] * self.weight[k]
        return out


class Block(nn.Module):
    """ConvNeXt block (Liu et al. 2022, arXiv 2201.03545, fig. 4), causal, on [batch, n, dim]."""

    def __init__(self, dim: int, hidden: int, kernel_size: int, lookahead: int = 0) -> None:
        super().__init__()
        self.conv = DepthwiseConv(dim, kernel_size, lookahead)
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, hidden)
        self.reduce = nn.Linear(hidden, dim, bias=False)
        self.scale = nn.Parameter(torch.full((dim,), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.gelu(self.expand(self.norm(self.conv(x))))
        out: Tensor = x + self.scale * self.reduce(hidden)
        return out


class Backbone(nn.Sequential):
    """Blocks of which the first `lookahead` see one frame ahead each."""

    def __init__(
        self, dim: int, hidden: int, blocks: int, kernel_size: int, lookahead: int
    ) -> None:
        super().__init__(
            *(Block(dim, hidden, kernel_size, int(i < lookahead)) for i in range(blocks)),
            nn.LayerNorm(dim),
        )
