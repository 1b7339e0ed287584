"""Draw everything that is random in a training step, apart from its crops.

All of it is a function of (seed, step): a run that is resumed at step n draws what it would have
drawn, and each of several processes draws for the whole batch and takes its part.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from codec.training.config import TrainConfig
from codec.training.critics.phase_rotation import N_NUMBERS
from codec.training.losses.spectral import Scale


@dataclasses.dataclass(frozen=True)
class Plan:
    """What decides the operations of a step. Steps of one plan differ in their inputs alone, so
    each plan is compiled, or captured as a CUDA graph, once."""

    scales: tuple[int, ...]  # numbers of the scales of the spectral loss
    critics: tuple[int, ...]  # numbers of the critics that learn and teach; none: ()
    quantised: bool


class Inputs(NamedTuple):
    """The tensors that a step reads, of fixed shapes."""

    audio: Tensor  # float32 [batch, samples], or [batch, 2, samples]
    depths: Tensor  # int64 [batch]: codebooks that each crop uses
    keys: Tensor  # int64 [batch, frames], below 2^32: what the decoder draws its signs by
    heard: Tensor  # int64 [crops]: numbers of the crops that critics hear
    hear: Tensor  # bool scalar: whether they hear any
    turns: Tensor  # float32 [crops, n]: normal numbers that phases are rotated by; or [0]
    phones: Tensor  # int64 [batch, frames]: the phone in each frame's middle, 0: unknown; or [0]
    step: Tensor  # int64 scalar
    lr: Tensor  # float32 scalar


def step_generator(seed: int, step: int) -> np.random.Generator:
    """Make the generator of the numbers of `step`, apart from those of its crops."""
    # As uint64: numpy would make floats of such a list, and the same key of every step.
    return np.random.Generator(np.random.Philox(key=np.array([seed, 2**63 + step], np.uint64)))


def draw(
    config: TrainConfig, step: int, quantised: bool, scales: tuple[Scale, ...]
) -> tuple[Plan, Tensor, Tensor]:
    """Draw the plan, the depths and the keys of `step`; see `Plan` and `Inputs`."""
    random = step_generator(config.seed, step)
    levels, batch = config.model.n_codebooks, config.batch_size
    depths = np.full(batch, levels)
    if quantised and not random.random() < config.full_depth_share:
        choices = np.array([max(1, int(levels * depth)) for depth in config.depths])
        depths = random.choice(choices, batch)
    # Any keys will do: the signs must not tell the decoder anything.
    frames = config.crop_samples // config.model.hop_length
    keys = random.integers(2**32, size=(batch, frames))
    chosen = tuple(range(len(scales)))
    if config.loss_scales == "drawn":
        chosen = tuple(
            int(random.choice(np.array([i for i in chosen if scales[i].complex == which])))
            for which in (True, False)
        )
    critics: tuple[int, ...] = ()
    if config.adversarial_from is not None and step >= config.adversarial_from:
        order = random.permutation(len(config.critic_kinds))
        critics = tuple(int(number) for number in order[: config.critics_drawn])
        if len(critics) == len(order):
            critics = tuple(sorted(critics))  # all of them: the same plan every step
    return Plan(chosen, critics, quantised), torch.from_numpy(depths), torch.from_numpy(keys)


def draw_turns(config: TrainConfig, step: int, first: int, crops: int) -> Tensor:
    """Draw the numbers that the phases of `crops` crops are rotated by; see `PhaseRotation`.

    first: how many crops the processes before this one have. Nothing is drawn, float32 [0], where
    no critic hears rotated phases.
    """
    if config.adversarial_from is None or config.critic_rotation == "off":
        return torch.zeros(0)
    # A stream of its own: what else the step draws does not depend on this setting.
    key = np.array([config.seed, 2**63 + 2**62 + step], np.uint64)
    random = np.random.Generator(np.random.Philox(key=key))
    drawn = random.standard_normal((first + crops, N_NUMBERS), dtype=np.float32)
    return torch.from_numpy(drawn[first:])


def choose_heard(judged: Tensor | None, batch: int, count: int) -> tuple[Tensor, Tensor]:
    """Choose the crops that critics hear: the first `count` that are True in `judged`.

    judged: bool [batch], all when None. Where fewer are True, those are heard again in turn.
    Returns int64 [count], and a bool scalar that says whether any is True.
    """
    if judged is None:
        judged = torch.ones(batch, dtype=torch.bool)
    found = judged.sum()
    first = torch.argsort((~judged).int(), stable=True)  # those that are True, in their order
    return first[torch.arange(count, device=judged.device) % found.clamp(1, count)], found > 0
