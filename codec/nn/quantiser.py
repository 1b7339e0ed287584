"""Quantise in residual levels: EMA codebooks, k-means start, revival of dead codewords."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from codec.nn.heads import noise_signs

SHRINK = 0.3  # how far k-means pulls its starting points away from the mean, of 1
NUDGE = 0.02  # how far the two halves of a codeword are moved apart, of the vectors' RMS
REVIVED = 64  # codewords of a level that one step revives at most

Reduce = Callable[[Tensor], Tensor]


class Statistics(NamedTuple):
    """What the codewords of each level won in a batch. All are sums, so the statistics of the
    parts of a batch add up to those of the batch."""

    frames: Tensor  # float32 [levels]: vectors that used the level
    energy: Tensor  # float32 [levels]: sum of the squares of their residuals
    counts: Tensor  # float32 [levels, size]: vectors that each codeword won
    sums: Tensor  # float32 [levels, size, dim]: sum of the residuals that each codeword won


class Quantised(NamedTuple):
    latents: Tensor  # [batch, n, dim], gradients pass straight through
    codes: Tensor  # int64 [levels, batch, n]; -1 at levels that an item does not use
    commitment: Tensor  # scalar: mean squared residual over the used levels, relative to the input
    statistics: Statistics | None = None  # for `ResidualQuantiser.learn`


def nearest(x: Tensor, codebook: Tensor) -> Tensor:
    """Find the nearest codeword of each vector. x [n, dim], codebook [size, dim] -> int64 [n]."""
    scores = torch.addmm(codebook.square().sum(1) / 2, x, codebook.t(), alpha=-1)
    return scores.argmin(1)


@torch.no_grad()
def kmeans(x: Tensor, size: int, iterations: int, generator: torch.Generator) -> Tensor:
    """Fit a codebook [size, dim] to x [n, dim] by Lloyd's algorithm.

    An empty cluster gets half of a large one. The algorithm starts from points pulled towards the
    mean. In many dimensions a point is nearer to the mean than to any other point: as codewords,
    the points themselves would win nothing but themselves.
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


def _nudge(x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw steps [count, dim] that are short beside the vectors x [n, dim]."""
    rms = x.square().mean().sqrt()
    return torch.randn(count, x.shape[1], generator=generator, device=x.device) * (NUDGE * rms)


def _itself(x: Tensor) -> Tensor:
    return x


class ResidualQuantiser(nn.Module):
    """Nested codebooks: any prefix of the levels decodes (SoundStream, arXiv 2107.03312, §III-C).

    Codebooks follow exponential moving averages of the vectors they win (van den Oord et al.
    2017, arXiv 1711.00937, appendix A.1). They must remember many more vectors than there are
    codewords: one that is the mean of few is long, for their noise, and wins fewer still. A
    codeword used less than `revive` times the mean use takes over half of what a popular one wins.

    With `first_dims` above 0 level 1 quantises the first `first_dims` dimensions of the latent, and
    the other levels quantise the rest: level 1 stands beside the others, as in Mimi (Défossez et
    al. 2024, arXiv 2410.00037). Each codeword is zero in the dimensions that are not its level's.
    So encoders and decoders see plain residual levels: where a codeword is zero, it adds nothing to
    its product with a vector, and it leaves the residual as it was.

    `forward` changes nothing; `learn` moves the codebooks by what `forward` counted. Neither has
    a shape that depends on the data, and neither makes the host wait for the device.
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
        first_dims: int = 0,
    ) -> None:
        super().__init__()
        self.decay, self.revive, self.first_dims = decay, revive, first_dims
        shape = (n_codebooks, codebook_size)
        self.register_buffer("codebooks", torch.zeros(*shape, dim))
        self.register_buffer("counts", torch.ones(shape))
        self.register_buffer("sums", torch.zeros(*shape, dim))

    def part(self, level: int) -> slice:
        """Name the dimensions that `level`, from 0, quantises."""
        if not self.first_dims:
            return slice(None)
        return slice(self.first_dims, None) if level else slice(self.first_dims)

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
            part, codebook = self.part(level), self.codebooks[level]
            residual -= codebook[nearest(residual[:, part], codebook[:, part])]
        for level in range(start, len(self.codebooks)):
            size, part = self.codebooks.shape[1], self.part(level)
            codebook = torch.zeros_like(self.codebooks[level])
            codebook[:, part] = kmeans(residual[:, part], size, iterations, generator)
            codes = nearest(residual[:, part], codebook[:, part])
            count = torch.bincount(codes, minlength=size).float()
            # the averages start as if one batch's worth had been seen
            count *= size / count.sum()
            self.codebooks[level] = codebook
            self.counts[level] = count.clamp(min=1e-3)
            self.sums[level] = codebook * self.counts[level][:, None]
            residual -= codebook[codes]
            left.append(float(residual.square().sum(1).mean() / energy))
        return left

    def forward(
        self,
        x: Tensor,
        used: Tensor | None = None,
        *,
        levels: int | None = None,
        count: bool = False,
        mean: Reduce = _itself,
    ) -> Quantised:
        """Quantise x [batch, n, dim] with the first used[b] levels for item b (all when None).

        levels: the number of levels in the result, at least the largest of `used`; all by default.
        count: return `Statistics` too. mean: the mean of a number over all parts of the batch,
        where x is one of several equal parts.
        """
        batch, n, dim = x.shape
        levels = len(self.codebooks) if levels is None else levels
        flat = x.reshape(-1, dim).float()
        residual = flat.detach()
        centred = residual - mean(residual.mean(0))
        variance = mean(centred.square().mean(0))
        out = torch.zeros_like(residual)
        if used is None:
            used = torch.full((batch,), levels, device=x.device)
        depth = used[:, None].expand(batch, n).reshape(-1)
        on = depth > torch.arange(levels, device=x.device)[:, None]  # bool [levels, batch * n]
        shares = on.float()
        # Sum over all parts of the batch, so that each part adds only its own share to the loss.
        using = mean(shares.mean(1))
        errors, codes, counted = [], [], []
        for level in range(levels):
            part = self.part(level)
            chosen = nearest(residual[:, part], self.codebooks[level][:, part])
            if count:
                counted.append(self._count(residual, chosen, shares[level], part))
            word = self.codebooks[level][chosen]
            step = torch.where(on[level][:, None], word, torch.zeros_like(word))
            # towards the quantised value of this depth: the codewords so far are constants
            out = out + step
            errors.append(((flat - out)[:, part].square().sum(1) * shares[level]).mean())
            residual = residual - step
            codes.append(torch.where(on[level], chosen, torch.full_like(chosen, -1)))
        if self.first_dims:
            # Dimensions that no level quantises are zero in `out`, so they have no gradient.
            reached = (depth > 1)[:, None] | self._dimensions()[0]
            flat = torch.where(reached, flat, flat.detach())
        straight = flat + (out - flat).detach()
        energies = torch.stack([variance[self.part(level)].sum() for level in (0, 1)])
        energy = energies[(torch.arange(levels, device=x.device) > 0).long()].clamp(min=1e-6)
        relative = torch.stack(errors) / (using.clamp(min=1e-12) * energy)
        return Quantised(
            straight.view(batch, n, dim).to(x.dtype),
            torch.stack(codes).view(levels, batch, n),
            relative.sum() / (using > 0).sum(),
            Statistics(*map(torch.stack, zip(*counted, strict=True))) if count else None,
        )

    @torch.no_grad()
    def _count(self, x: Tensor, chosen: Tensor, share: Tensor, part: slice) -> tuple[Tensor, ...]:
        """Count one level's part of `Statistics`.

        share: 1 for vectors that use the level, or 0. part: the dimensions that the level has.
        """
        size, dim = self.codebooks.shape[1:]
        first, last, _ = part.indices(dim)
        x = x[:, part] * share[:, None]
        sums = x.new_zeros(size, x.shape[1]).index_add_(0, chosen, x)
        return (
            share.sum(),
            x.square().sum(),
            x.new_zeros(size).index_add_(0, chosen, share),
            functional.pad(sums, (first, dim - last)) if self.first_dims else sums,
        )

    def _dimensions(self) -> Tensor:
        """Tell which dimensions each level quantises; bool [levels, dim]."""
        levels, _, dim = self.codebooks.shape
        device = self.codebooks.device
        if not self.first_dims:
            return torch.ones(levels, dim, dtype=torch.bool, device=device)
        later = torch.arange(levels, device=device)[:, None] > 0
        return later ^ (torch.arange(dim, device=device) < self.first_dims)

    @torch.no_grad()
    def learn(self, won: Statistics, number: Tensor, wanted: Tensor | None = None) -> None:
        """Move the codebooks by what their codewords `won`.

        number: int64 scalar, the number of the step, which the signs of the revived codewords are
        drawn by. wanted: bool scalar; nothing changes where it is False.
        """
        size = self.codebooks.shape[1]
        moved = won.frames > 0
        if wanted is not None:
            moved = moved & wanted
        # counts are kept relative: their sum tends to `size`, so mean use is 1 whatever the batch
        gain = (1 - self.decay) * size / won.frames.clamp(min=1)
        counts = self.counts * self.decay + won.counts * gain[:, None]
        sums = self.sums * self.decay + won.sums * gain[:, None, None]
        rms = torch.sqrt(won.energy / won.frames.clamp(min=1) / self._dimensions().sum(1))
        counts, sums = self._revive(counts, sums, rms, number)
        words = sums / counts[..., None]
        self.codebooks.copy_(torch.where(moved[:, None, None], words, self.codebooks))
        self.counts.copy_(torch.where(moved[:, None], counts, self.counts))
        self.sums.copy_(torch.where(moved[:, None, None], sums, self.sums))

    def _revive(
        self, counts: Tensor, sums: Tensor, rms: Tensor, number: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Give the first dead codewords of each level half of what its most popular ones won.

        The i-th dead codeword of a level, in the order of their numbers, gets half of the i-th
        most popular one, for at most REVIVED of them. rms: float32 [levels], of the residuals.
        """
        levels, size, dim = sums.shape
        slots = min(REVIVED, size // 2)
        if not slots:
            return counts, sums
        dead = counts < self.revive
        popular = counts.topk(slots, dim=1).indices
        reborn = torch.argsort((~dead).to(torch.int8), dim=1, stable=True)[:, :slots]
        large = counts.gather(1, popular)
        # halves that would be dead themselves would be revived again and again
        swapped = dead.gather(1, reborn) & (large > 4 * self.revive)
        half = large / 2
        index = popular[..., None].expand(-1, -1, dim)
        total = sums.gather(1, index)
        seeds = torch.arange(levels * slots, device=sums.device).view(levels, slots)
        seeds = (seeds + (number + 1) * 0x9E3779B1) & 0xFFFFFFFF
        step = noise_signs(seeds, dim, 0) * (NUDGE * rms)[:, None, None]
        step = step * self._dimensions()[:, None]
        # The numbers in `popular` differ from each other, and so do those in `reborn`. A slot that
        # is not swapped writes back its current value.
        counts = counts.scatter(1, popular, torch.where(swapped, half, large))
        one = torch.where(swapped[..., None], total / 2 - step * half[..., None], total)
        sums = sums.scatter(1, index, one)
        index = reborn[..., None].expand(-1, -1, dim)
        counts = counts.scatter(1, reborn, torch.where(swapped, half, counts.gather(1, reborn)))
        other = total / 2 + step * half[..., None]
        sums = sums.scatter(1, index, torch.where(swapped[..., None], other, sums.gather(1, index)))
        return counts, sums

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes int64 [n_codebooks, batch, n] to latents [batch, n, dim]."""
        out = torch.zeros(*codes.shape[1:], self.codebooks.shape[2], device=codes.device)
        for level, chosen in enumerate(codes):
            out = out + self.codebooks[level][chosen]
        return out
