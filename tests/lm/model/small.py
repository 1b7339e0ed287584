"""A language model small enough for tests, and streams for it."""

from __future__ import annotations

import numpy as np
import torch

from codec.lm.model.config import LmConfig
from codec.lm.model.data import Stream
from codec.lm.model.network import Network

CONFIG = LmConfig(
    levels=3, codebook_size=16, width=16, layers=2, heads=2, hidden=24, depth_hidden=12,
    context=12, voice_frames=5, phones=6, tags=("piano", "rain", "speech"),
)  # fmt: skip


def network(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    made = Network(CONFIG)
    with torch.no_grad():
        made.depth_gain.fill_(1.0)  # scores that are far apart
    return made.eval().requires_grad_(False)


def codes(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, CONFIG.codebook_size, shape, generator=generator)


def streams(count: int = 4, frames: int = 60) -> list[Stream]:
    random = np.random.default_rng(0)
    size, levels = CONFIG.codebook_size, CONFIG.levels
    made = []
    for number in range(count):
        phones = np.ones((frames, 3), np.uint8) if number % 2 else np.zeros((frames, 3), np.uint8)
        own = random.integers(0, size, (levels, frames)).astype(np.uint16)
        made.append(Stream(own, phones, (number % 3,)))
    return made
