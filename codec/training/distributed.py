"""Share one training step among several processes, each with a part of its batch.

Gradients are summed explicitly, not by `DistributedDataParallel`. Its hooks act on `backward`, but
a step takes the gradients of model and critics with `autograd.grad`. One flattened sum also carries
the statistics of the codebooks, and is part of a compiled step or of a CUDA graph.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

T = TypeVar("T")

PATIENCE = datetime.timedelta(hours=12)  # while the first process prepares audio


@contextlib.contextmanager
def joined(device: str | None = None) -> Iterator[str | None]:
    """Join the processes that `torchrun` started with this one; the device that this one uses.

    Alone, or where they are joined already, it gives `device` back.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield device
        return
    if device is None and torch.cuda.is_available():
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    cuda = device is not None and device.startswith("cuda")
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield device
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def one_first() -> Iterator[None]:
    """Let the first process go through the block alone, and the others after it."""
    if rank():
        dist.barrier()
    yield
    if world_size() > 1 and not rank():
        dist.barrier()


def part_of(batch: Tensor) -> Tensor:
    """Take this process's items of a batch: every `world_size()`-th, from `rank()` on."""
    return batch[rank() :: world_size()]


def any_of(flag: bool) -> bool:
    """Tell whether `flag` is set in any process. Waits for all of them."""
    if world_size() == 1:
        return flag
    flags = torch.tensor(int(flag))
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return bool(flags)


def of_first(value: float) -> float:
    """Return the value that the first process has. Waits for all of them."""
    shared = torch.tensor(value, dtype=torch.float64)
    copy_from(0, [shared])
    return float(shared)


def joined_lists(own: list[T]) -> list[T]:
    """Give each process the elements of all lists: the first of each in turn, then the second.

    Process r has elements r, r + n, ... of the result, where there are n processes. Waits for all.
    """
    if world_size() == 1:
        return own
    lists: list[list[T]] = [[] for _ in range(world_size())]
    dist.all_gather_object(lists, own)
    count = sum(map(len, lists))
    return [lists[number % len(lists)][number // len(lists)] for number in range(count)]


@torch.no_grad()
def copy_from(source: int, tensors: Sequence[Tensor]) -> None:
    """Overwrite `tensors` with those of process `source`."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, source)


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
