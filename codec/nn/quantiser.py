"""Residual vector quantisation for training: EMA codebooks, k-means start, dead-code revival."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

SHRINK = 0.3  # of the way from the mean to the points that k-means starts from
NUDGE = 0.02  # of the vectors' RMS, by which the halves of a codeword part


class Quantised(NamedTuple):
    latents: Tensor  # [batch, n, dim], gradients pass straight through
    codes: Tensor  # int64 [n_codebooks, batch, n]; unused levels are -1
    commitment: Tensor  # scalar: mean squared residual over the used levels, relative to the input


def nearest(x: Tensor, codebook: Tensor) -> Tensor:
    """Index of the nearest codeword. x [n, dim], codebook [size, dim] -> int64 [n]."""
    scores = torch.addmm(codebook.square().sum(1) / 2, x, codebook.t(), alpha=-1)
    return scores.argmin(1)


@torch.no_grad()
def kmeans(x: Tensor, size: int, iterations: int, generator: torch.Generator) -> Tensor:
    """Codebook [size, dim] by Lloyd's algorithm; an empty cluster gets half of a large one.

    It starts from points drawn towards the mean. In many dimensions a point is nearer to the mean
    than to any other point: as codewords, points would win nothing but themselves.
    """
    mean = x.mean(0)
    drawn = x[torch.randperm(len(x), generator=generator)[:size]]
    codebook = torch.lerp(mean, drawn, SHRINK)
    for _ in range(iterations):
        codes = nearest(x, codebook)
        count = torch.bincount(codes, minlength=size)
        total = torch.zeros_like(codebook).index_add_(0, codes, x)
        codebook = total / count.clamp(min=1)[:, None]
        lost = torch.nonzero(count == 0)[:, 0]
        if len(lost):
            large = count.topk(len(lost)).indices
            codebook[lost] = codebook[large] + _nudge(x, len(lost), generator)
    return codebook


def _nudge(x: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Random steps [count, dim], short beside the vectors x [n, dim]."""
    rms = x.square().mean().sqrt()
    steps = torch.randn(count, x.shape[1], generator=generator, device=x.device)
    return steps * (NUDGE * rms)


class ResidualQuantiser(nn.Module):
    """Nested codebooks: any prefix of the levels decodes (SoundStream, arXiv 2107.03312, §III-C).

    Codebooks follow exponential moving averages of the vectors they win (van den Oord et al.
    2017, arXiv 1711.00937, appendix A.1). They must remember many more vectors than there are
    codewords: one that is the mean of few is long, for their noise, and wins fewer still. A
    codeword used less than `revive` times the mean use takes over half of what a popular one wins.
    """

    codebooks: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        n_codebooks: int,
        codebook_size: int,
        dim: int,
        decay: float = 0.999,
        revive: float = 0.1,
    ) -> None:
        super().__init__()
        self.decay, self.revive = decay, revive
        shape = (n_codebooks, codebook_size)
        self.register_buffer("codebooks", torch.zeros(*shape, dim))
        self.register_buffer("counts", torch.ones(shape))
        self.register_buffer("sums", torch.zeros(*shape, dim))

    @torch.no_grad()
    def fit(
        self, latents: Tensor, generator: torch.Generator, iterations: int = 10, start: int = 0
    ) -> list[float]:
        """K-means of every level from `start` on, on `latents` [n, dim].

        Returns the energy left after each of these, as a fraction of the latents' variance.
        """
        residual = latents.clone()
        energy = latents.var(0).sum()
        left = []
        for level in range(start):
            residual -= self.codebooks[level][nearest(residual, self.codebooks[level])]
        for level in range(start, len(self.codebooks)):
            size = self.codebooks.shape[1]
            codebook = kmeans(residual, size, iterations, generator)
            codes = nearest(residual, codebook)
            count = torch.bincount(codes, minlength=size).float()
            # the averages start as if one batch's worth had been seen
            count *= size / count.sum()
            self.codebooks[level] = codebook
            self.counts[level] = count.clamp(min=1e-3)
            self.sums[level] = codebook * self.counts[level][:, None]
            residual -= codebook[codes]
            left.append(float(residual.square().sum(1).mean() / energy))
        return left

    def forward(self, x: Tensor, used: Tensor | None = None, learn: bool = True) -> Quantised:
        """Quantise x [batch, n, dim] with the first used[b] levels for item b (all when None)."""
        batch, n, dim = x.shape
        residual = x.detach().reshape(-1, dim).float()
        energy = residual.var(0, unbiased=False).sum().clamp(min=1e-6)
        out = torch.zeros_like(residual)
        if used is None:
            used = torch.full((batch,), len(self.codebooks), device=x.device)
        active = used.repeat_interleave(n)
        losses, codes = [], []
        flat = x.reshape(-1, dim).float()
        for level in range(int(used.max())):
            on = active > level
            chosen = nearest(residual, self.codebooks[level])
            word = self.codebooks[level][chosen]
            if learn and self.training:
                self._learn(level, residual[on], chosen[on])
            step = torch.where(on[:, None], word, torch.zeros_like(word))
            # towards the quantised value of this depth: the codewords so far are constants
            out = out + step
            losses.append((flat - out).square().sum(1)[on].mean() / energy)
            residual = residual - step
            codes.append(torch.where(on, chosen, torch.full_like(chosen, -1)).view(batch, n))
        straight = flat + (out - flat).detach()
        return Quantised(
            straight.view(batch, n, dim).to(x.dtype), torch.stack(codes), torch.stack(losses).mean()
        )

    @torch.no_grad()
    def _learn(self, level: int, x: Tensor, codes: Tensor) -> None:
        if not len(x):
            return
        size = self.codebooks.shape[1]
        counts, sums = self.counts[level], self.sums[level]
        # counts are kept relative: their sum tends to `size`, so mean use is 1 whatever the batch
        scale = size / len(x)
        counts.mul_(self.decay).add_(
            torch.bincount(codes, minlength=size).float(), alpha=(1 - self.decay) * scale
        )
        sums.mul_(self.decay).index_add_(0, codes, x, alpha=(1 - self.decay) * scale)
        dead = torch.nonzero(counts < self.revive)[:, 0]
        if len(dead):
            popular = counts.topk(min(len(dead), size // 2)).indices
            # halves that would be dead themselves go round in circles
            popular = popular[counts[popular] > 4 * self.revive]
            dead = dead[: len(popular)]
            half = counts[popular] / 2
            word = sums[popular] / counts[popular][:, None]
            step = _nudge(x, len(dead))
            counts[popular] = counts[dead] = half
            sums[popular] = (word - step) * half[:, None]
            sums[dead] = (word + step) * half[:, None]
        torch.div(sums, counts[:, None], out=self.codebooks[level])

    def decode(self, codes: Tensor) -> Tensor:
        """codes int64 [n_codebooks, batch, n] -> latents [batch, n, dim]."""
        out = torch.zeros(*codes.shape[1:], self.codebooks.shape[2], device=codes.device)
        for level, chosen in enumerate(codes):
            out = out + self.codebooks[level][chosen]
        return out
