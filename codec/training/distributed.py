"""Share one training step among several processes, each with a part of its batch.

Gradients are summed explicitly, not by `DistributedDataParallel`. Its hooks act on `backward`, but
a step takes the gradients of model and critics with `autograd.grad`. One flattened sum also carries
the statistics of the codebooks, and is part of a compiled step or of a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch import distributed as dist


def world_size() -> int:
    """Count the processes that share a step."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Give this process's number among them, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


@torch.no_grad()
def mean_over_ranks(x: Tensor) -> Tensor:
    """Average x over the processes; a new tensor without gradient. With one process: x."""
    count = world_size()
    if count == 1:
        return x.detach()
    return _sum(x.detach()) / count


@torch.no_grad()
def sums_over_ranks(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Sum each of `tensors` (float32) over the processes, in one exchange."""
    if world_size() == 1:
        return list(tensors)
    flat = _sum(torch.cat([tensor.reshape(-1) for tensor in tensors]))
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


def _sum(x: Tensor) -> Tensor:
    from torch.distributed._functional_collectives import all_reduce

    # The functional form can be compiled with the rest of a step.
    group = dist.group.WORLD
    assert group is not None
    total: Tensor = all_reduce(x, "sum", group)
    return total
