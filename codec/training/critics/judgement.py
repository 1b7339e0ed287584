"""Turn the scores and features of critics into losses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ADVERSARIAL = ("hinge", "least-squares")


@dataclasses.dataclass(frozen=True)
class Judgement:
    """Losses, each a scalar."""

    critic: Tensor  # of the critic itself
    adversarial: Tensor  # of the generator
    features: Tensor  # distance of the features, each layer's relative to its mean size


def judge(
    critic: nn.Module,
    target: Tensor,
    output: Tensor,
    adversarial: str = "hinge",
    mean: Callable[[Tensor], Tensor] = Tensor.detach,
) -> Judgement:
    """Compare `output` with `target`, float32 [batch, samples] each.

    With scores D(x) of the target and D(y) of the output, averaged over all scores:

        hinge          critic max(0, 1 - D(x)) + max(0, 1 + D(y)), generator max(0, 1 - D(y))
                       (Lim & Ye 2017, arXiv 1705.02894; EnCodec, eq. 3 and 4)
        least-squares  critic (1 - D(x))^2 + D(y)^2, generator (1 - D(y))^2
                       (Mao et al. 2017, arXiv 1611.04076; HiFi-GAN, eq. 1 and 2)

    Feature matching is EnCodec's (eq. 2).

    mean: the mean of a number over all parts of the batch, where this is one of them.
    """
    real_score, *real = critic(target)
    fake_score, *fake = critic(output)
    distances = [
        (a.detach() - b).abs().mean() / mean(a.abs().mean()).clamp(min=1e-6)
        for a, b in zip(real, fake, strict=True)
    ]
    if adversarial == "hinge":
        own = F.relu(1 - real_score).mean() + F.relu(1 + fake_score).mean()
        generator = F.relu(1 - fake_score).mean()
    elif adversarial == "least-squares":
        own = (1 - real_score).square().mean() + fake_score.square().mean()
        generator = (1 - fake_score).square().mean()
    else:
        raise ValueError(f"adversarial must be one of {ADVERSARIAL}, not {adversarial!r}")
    return Judgement(own, generator, torch.stack(distances).mean())


def mean_of(judgements: Sequence[Judgement]) -> Judgement:
    """Average each loss over the critics."""
    return Judgement(
        critic=torch.stack([one.critic for one in judgements]).mean(),
        adversarial=torch.stack([one.adversarial for one in judgements]).mean(),
        features=torch.stack([one.features for one in judgements]).mean(),
    )
