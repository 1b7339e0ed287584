"""AdamW whose step can be skipped on the device, compiled, and captured in a CUDA graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def fused_step(
    parameters: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    steps: list[Tensor],
    lr: Tensor,
    skipped: Tensor,
    beta1: float,
    beta2: float,
    weight_decay: float,
    eps: float,
) -> None:
    """Step `parameters` in place by PyTorch's kernel; nothing changes where `skipped` is 1."""
    torch._foreach_add_(steps, 1)
    torch._fused_adamw_(
        parameters,
        gradients,
        means,
        squares,
        [],
        steps,
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        weight_decay=weight_decay,
        eps=eps,
        amsgrad=False,
        maximize=False,
        grad_scale=None,
        found_inf=skipped,
    )
    # A list: a single tensor is read as a number, for which the host would wait.
    torch._foreach_sub_(steps, [skipped] * len(steps))


# Opaque to compilers: PyTorch has no rule to trace its fused kernel.
_adamw = torch.library.custom_op(
    "codec::adamw_", fused_step, mutates_args=("parameters", "means", "squares", "steps")
)


@_adamw.register_fake
def _(*_: Any) -> None:
    return None


class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101).

    The arithmetic is PyTorch's fused kernel. Unlike `torch.optim.AdamW` it has all tensors of its
    state from the start, and takes the learning rate and the decision to step as tensors.
    """

    def __init__(
        self, module: nn.Module, betas: Sequence[float], weight_decay: float, eps: float = 1e-8
    ) -> None:
        self.betas, self.weight_decay, self.eps = (betas[0], betas[1]), weight_decay, eps
        self.parameters = list(module.parameters())
        with torch.no_grad():
            self.means = [torch.zeros_like(p) for p in self.parameters]
            self.squares = [torch.zeros_like(p) for p in self.parameters]
            self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    def tensors(self) -> list[Tensor]:
        """List the tensors of the state."""
        return [*self.means, *self.squares, *self.steps]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None], lr: Tensor, wanted: Tensor) -> None:
        """Step along `gradients`, one for each parameter; None leaves a parameter alone.

        lr: float32 scalar. wanted: bool scalar; nothing changes where it is False.
        """
        numbers = [i for i, gradient in enumerate(gradients) if gradient is not None]
        _adamw(
            [self.parameters[i] for i in numbers],
            [gradient for gradient in gradients if gradient is not None],
            [self.means[i] for i in numbers],
            [self.squares[i] for i in numbers],
            [self.steps[i] for i in numbers],
            lr,
            1 - wanted.float(),
            *self.betas,
            self.weight_decay,
            self.eps,
        )

    def state_dict(self) -> dict[str, Any]:
        """Give the state in the form of `torch.optim.AdamW`, without its settings."""
        parts = zip(self.steps, self.means, self.squares, strict=True)
        return {
            "state": {
                i: {"step": step, "exp_avg": mean, "exp_avg_sq": square}
                for i, (step, mean, square) in enumerate(parts)
            }
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take a state, also one of `torch.optim.AdamW`; parameters that it omits begin anew.

        Raises ValueError if it is of other parameters.
        """
        for tensor in self.tensors():
            tensor.zero_()
        for i, part in state["state"].items():
            if i >= len(self.parameters) or part["exp_avg"].shape != self.parameters[i].shape:
                raise ValueError("the optimiser's state is of other parameters")
            self.steps[i].copy_(part["step"])
            self.means[i].copy_(part["exp_avg"])
            self.squares[i].copy_(part["exp_avg_sq"])
