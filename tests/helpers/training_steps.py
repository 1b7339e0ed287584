"""Single steps of training, with every loss and critics."""

from __future__ import annotations

import dataclasses

import torch

from codec.training.config import TrainConfig
from codec.training.draws import Inputs, Plan
from codec.training.learner import Learner
from tests.helpers.nn_models import TRAINING, chirps

CPU = torch.device("cpu")
CONFIG = dataclasses.replace(
    TRAINING,
    batch_size=2,
    critic_crops=2,
    adversarial_from=0,
    adversarial_warmup=1,
    loudness_weight=0.1,
    critics="1x1024+3x512",
)


def fitted(config: TrainConfig = CONFIG) -> tuple[Learner, torch.Tensor]:
    """Make a learner whose codebooks are fitted, and a batch of audio."""
    torch.set_num_threads(1)
    learner = Learner(config, CPU)
    audio = torch.from_numpy(chirps(config.batch_size * config.crop_samples))
    audio = audio.view(config.batch_size, -1)
    learner.start(audio)
    learner.fit_codebooks([audio] * 8)
    return learner, audio


def drawn(learner: Learner, audio: torch.Tensor, step: int = 3) -> tuple[Plan, Inputs]:
    """Draw what a step takes."""
    return learner._draw(step, audio, 1e-3, None)
