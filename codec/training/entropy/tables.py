"""Learns the tables of the fast coder: what codes that are known already say about the next.

The score of code k at level q is log-linear of low rank,

    score[k] = bias[q, k] + out[q, k] . sum over the contexts c of embed[q, c, code of c]

which is what remains of a table of every pair of codes when it is factored: exact counts of
1024 x 1024 pairs would need a hundred times the audio that there is. What is learned is then scaled
down as far as recordings that were not learned from want it: where a level's codes are nearly
equally frequent, what distinguishes them is the recordings, and counts would cost more than they
save.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from codec.coders.data import CONTEXTS, Tables, quantise_tables
from codec.training.entropy.batches import order_0

BATCH = 4096
WEIGHT_DECAY = 0.1
TEST_FRAMES = 20_000
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
START_SHARE = 0.05  # of the examples are without a frame before: more than a chunk has, fewer than
# live files, which have nothing else


def train_tables(
    codes: npt.NDArray[np.uint16],
    held_out: npt.NDArray[np.uint16],
    codebook_size: int,
    *,
    rank: int,
    seconds: float,
    seed: int = 0,
    say: Callable[[str], None],
) -> Tables:
    """Tables learned from `codes` uint16 [levels, frames], `seconds` spent evenly on the levels,
    and scaled for `held_out`, of the same form."""
    test = torch.from_numpy(held_out[:, : 1 + TEST_FRAMES].astype(np.int64))
    data = torch.from_numpy(codes.astype(np.int64))
    levels = len(codes)
    generator = torch.Generator().manual_seed(seed)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for level in range(levels):
        parts.append(
            _train_level(data, test, level, codebook_size, rank, seconds / levels, generator, say)
        )
    stacked = [torch.stack(part).numpy() for part in zip(*parts, strict=True)]
    return quantise_tables(*stacked)


def _train_level(
    data: Tensor,
    test: Tensor,
    level: int,
    size: int,
    rank: int,
    seconds: float,
    generator: torch.Generator,
    say: Callable[[str], None],
) -> tuple[Tensor, Tensor, Tensor]:
    embed = 0.1 * torch.randn(len(CONTEXTS), size, rank, generator=generator)
    out = 0.1 * torch.randn(size, rank, generator=generator)
    bias = order_0(data[level], size)
    present = [
        (number, context.back, context.level(level))
        for number, context in enumerate(CONTEXTS)
        if context.level(level) is not None
    ]
    for parameter in (embed, out, bias):
        parameter.requires_grad_()
    optimiser = torch.optim.AdamW(
        [
            {"params": [embed, out], "weight_decay": WEIGHT_DECAY},
            {"params": [bias], "weight_decay": 0.0},
        ],
        lr=0.02,
        betas=(0.9, 0.99),
    )
    begun, steps, total = time.monotonic(), 0, 0.0
    while (progress := (time.monotonic() - begun) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 0.02 * (1 - progress) + 1e-4
        place = torch.randint(1, data.shape[1], (BATCH,), generator=generator)
        start = torch.rand(BATCH, 1, generator=generator) < START_SHARE
        hidden = torch.zeros(BATCH, rank)
        for number, back, source in present:
            assert source is not None
            term = F.embedding(data[source, place - back], embed[number])
            hidden = hidden + (term.masked_fill(start, 0) if back else term)
        loss = F.cross_entropy(torch.addmm(bias, hidden, out.T), data[level, place])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        steps += 1
        total += (loss.item() - total) / min(steps, 30)
    for number, context in enumerate(CONTEXTS):
        if context.level(level) is None:
            embed.data[number] = 0
    with torch.no_grad():
        place = torch.arange(1, test.shape[1])
        hidden = torch.zeros(len(place), rank)
        for number, back, source in present:
            assert source is not None
            hidden += F.embedding(test[source, place - back], embed[number])
        by_context = hidden @ out.T
        cost, share, context_share = min(
            (float(F.cross_entropy(a * bias + b * by_context, test[level, place])), a, b)
            for a in SHARES
            for b in SHARES
        )
    say(
        f"tables: level {level}: {total / np.log(2):.3f} bits a code after {steps} steps, held out"
        f" {cost / np.log(2):.3f} with {share:g} of the bias, {context_share:g} of the rest"
    )
    return embed.detach(), out.detach() * context_share, bias.detach() * share
