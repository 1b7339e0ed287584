"""Balance the critics' gradients against the other losses' by averages of their norms."""

from __future__ import annotations

import torch
from torch import Tensor

DECAY = 0.999


class Balancer:
    """Average gradient norms over steps (EnCodec: Défossez et al. 2022, arXiv 2210.13438, §3.4).

    A loss with gradient g by the output and weight w contributes w R g / <|g|>, where <> is an
    exponential moving average with decay DECAY, corrected for its start. EnCodec's R is a constant.
    Here it is the average norm of the other losses' gradient, <|own|>: so w means the same as
    without averages, and the balance with what is not balanced (commitment) stays.

    The averages are of `count` numbers, float32 [count]. All operations have fixed shapes, and none
    makes the host wait for the device.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        self.averages = torch.zeros(count, device=device)
        self.weight = torch.zeros((), device=device)  # 1 - DECAY^n after n steps

    def tensors(self) -> list[Tensor]:
        """List the tensors of the state."""
        return [self.averages, self.weight]

    def averaged(self, sizes: Tensor) -> Tensor:
        """Average `sizes` [count] with those of the steps before. Nothing is changed."""
        averages = torch.lerp(sizes, self.averages, DECAY)
        return averages / (DECAY * self.weight + (1 - DECAY))

    @torch.no_grad()
    def learn(self, sizes: Tensor, wanted: Tensor) -> None:
        """Take `sizes` into the averages where `wanted`, a bool scalar, is True."""
        averages = torch.lerp(sizes, self.averages, DECAY)
        self.averages.copy_(torch.where(wanted, averages, self.averages))
        weight = DECAY * self.weight + (1 - DECAY)
        self.weight.copy_(torch.where(wanted, weight, self.weight))

    def state_dict(self) -> dict[str, Tensor]:
        return {"averages": self.averages, "weight": self.weight}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.averages.copy_(state["averages"])
        self.weight.copy_(state["weight"])
