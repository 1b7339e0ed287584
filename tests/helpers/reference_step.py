"""Give a learner weights by a formula, and write down what one step makes of them.

`reference_step.json` holds what the trainer of commit 112fd47 made of them, before its step became
a function of tensors: there `Learner.step` was called once with `STEP`, `audio()` and `LR`, after
`Learner.make_critics` and `fill`, and `digest` read the gradients that it left in `.grad`, the
codebooks and the averages. Settings and weights are the same here and there.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

STEP, LR = 7, 1e-3
CHANGES = {
    "batch_size": 4,
    "critic_crops": 2,
    "adversarial_from": 0,
    "adversarial_warmup": 20,
    "loudness_weight": 0.1,
    "full_depth_share": 0.0,
}


def uniform(key: int, shape: Iterable[int]) -> Tensor:
    """Draw numbers in [-1, 1) that every version of numpy draws alike."""
    count = int(np.prod(list(shape)))
    raw = np.random.Philox(key=np.array([key, 0], np.uint64)).random_raw(count)
    values = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1
    return torch.from_numpy(values.astype(np.float32)).view(*shape)


@torch.no_grad()
def fill(model: nn.Module, critics: nn.Module) -> None:
    """Set the weights of matrices and kernels, and codebooks that halve from level to level."""
    named = [*model.named_parameters(), *critics.named_parameters()]
    for key, (name, parameter) in enumerate(named):
        if name.endswith("original0"):  # norms of weight_norm
            parameter.fill_(1.0)
        elif parameter.ndim > 1:
            fan_in = parameter[0].numel()
            parameter.copy_(uniform(key, parameter.shape) * (3 / fan_in) ** 0.5)
    quantiser = model.quantiser
    scale = 2.0 ** -torch.arange(len(quantiser.codebooks))[:, None, None]
    quantiser.codebooks.copy_(2 * uniform(10_000, quantiser.codebooks.shape) * scale)
    quantiser.sums.copy_(quantiser.codebooks)


def audio(batch: int, samples: int) -> Tensor:
    """Make tones with noise, float32 [batch, samples]."""
    time = np.arange(samples) / 24_000
    tones = np.stack([np.sin(2 * np.pi * 110 * (i + 1.5) * time) for i in range(batch)])
    loud = np.array([0.3, 0.1, 0.2, 0.05])[:batch, None]
    noise = uniform(20_000, (batch, samples)).numpy()
    return torch.from_numpy((loud * (tones + 0.1 * noise)).astype(np.float32))


def digest(tensors: Iterable[Tensor]) -> list[list[float]]:
    """Reduce each tensor to its norm and a projection."""
    result = []
    for tensor in tensors:
        flat = tensor.detach().double().flatten()
        wave = torch.cos(0.7 * torch.arange(len(flat), dtype=torch.float64))
        result.append([float(flat.norm()), float(flat @ wave)])
    return result
