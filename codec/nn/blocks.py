"""Define the causal convolution blocks that run at the frame rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DepthwiseConv(nn.Module):
    """Convolve each channel over time with a bounded look-ahead. [batch, n, dim] -> the same.

        output t sees inputs   t - (kernel - 1 - lookahead) ... t ... t + lookahead

    It is a sum of shifted products: on a CPU this is faster than a grouped conv1d, which also
    needs the channels first.
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
    """Apply a causal ConvNeXt block (Liu et al. 2022, arXiv 2201.03545, fig. 4).

    [batch, n, dim] -> the same.
    """

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
    """Apply `blocks` blocks, the first `lookahead` of which see one frame ahead each.

    With `in_bfloat16` set, it computes in bfloat16 and still gives float32.
    """

    def __init__(
        self, dim: int, hidden: int, blocks: int, kernel_size: int, lookahead: int
    ) -> None:
        super().__init__(
            *(Block(dim, hidden, kernel_size, int(i < lookahead)) for i in range(blocks)),
            nn.LayerNorm(dim),
        )
        self.in_bfloat16 = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.in_bfloat16:
            return self._blocks(x)
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return self._blocks(x).float()

    def _blocks(self, x: Tensor) -> Tensor:
        for block in self:
            x = block(x)
        return x
