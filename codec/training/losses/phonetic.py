"""Teach level 1 which phone is spoken: cross-entropy through one linear layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from codec.training.phones import MOST_PHONES, UNKNOWN


class Heard(NamedTuple):
    loss: Tensor  # scalar: mean cross-entropy in nats over the frames whose phone is known
    wrong: Tensor  # scalar: share of these frames whose most probable phone is another


class PhoneticLoss(nn.Module):
    """Name the phone of each frame from level 1's output by a linear layer; say how wrong it is.

    Frame labels on a quantised level: PAST (Har-Tuv et al. 2025, arXiv 2505.14470). The layer sees
    the output divided by the latents' RMS over the batch, as a constant: latents may have any
    scale, and a learning rate suits the layer at each.

    dims: of the first dimensions of the latent, which the layer sees. It has an output for each
    number that a label can have, so it does not depend on the inventory.
    """

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.dims = dims
        self.head = nn.Linear(dims, MOST_PHONES + 1)

    def forward(
        self,
        first: Tensor,
        latents: Tensor,
        phones: Tensor,
        mean: Callable[[Tensor], Tensor] = Tensor.detach,
    ) -> Heard:
        """Compare level 1's output with the phones.

        first, latents: [batch, frames, dim], level 1's output, through which gradients pass, and
        the latents before it. phones: int64 [batch, frames], 0 where unknown: such frames have no
        gradient. mean: the mean of a number over all parts of the batch, where this is one.
        """
        square = latents.detach()[..., : self.dims].float().square().mean()
        rms = mean(square).sqrt().clamp(min=1e-6)
        scores = self.head(first[..., : self.dims].float() / rms).flatten(0, 1)
        labels = phones.flatten()
        known = labels != UNKNOWN
        count = mean(known.float().sum()).clamp(min=1)
        loss = functional.cross_entropy(scores, labels, ignore_index=UNKNOWN, reduction="sum")
        with torch.no_grad():
            wrong = ((scores.argmax(1) != labels) & known).float().sum() / count
        return Heard(loss / count, wrong)
