"""The head whose windows are inverse MDCTs, to compare with."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from codec.model.config import ModelConfig
from codec.nn.heads.base import SpectralHead


class MdctHead(SpectralHead):
    """Predict synthesis_hop real coefficients times gains; windows have 2 synthesis_hop samples."""

    parts = 1
    gains = True
    basis: Tensor

    def __init__(self, config: ModelConfig, dim: int) -> None:
        super().__init__(config, dim)
        n = torch.arange(self.size, dtype=torch.float64)[None] + (1 + self.hop) / 2
        k = torch.arange(self.hop, dtype=torch.float64)[:, None] + 0.5
        # scaled like the inverse FFT, so that all heads start equally loud
        basis = torch.cos(math.pi / self.hop * n * k) * (2 / self.hop)
        self.register_buffer("basis", basis.float(), persistent=False)

    @staticmethod
    def sizes(config: ModelConfig) -> tuple[int, int]:
        return 2 * config.synthesis_hop, config.synthesis_hop

    def windows_of(self, parts: Tensor, signs: Tensor) -> Tensor:
        return (parts[:, :, 0] * signs) @ self.basis
