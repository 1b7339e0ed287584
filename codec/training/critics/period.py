"""Judge a waveform by the samples that lie one period apart."""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm


class PeriodCritic(nn.Module):
    """A discriminator of HiFi-GAN's MPD (Kong et al. 2020, arXiv 2010.05646, §2.3 and fig. 2).

    audio float32 [batch, samples] -> [score, *features], each [batch * period, channels, rows].
    Every phase, the samples n with the same n mod period, goes through the same 1-D layers. That is
    HiFi-GAN's Conv2d with kernels (5, 1) on rows of `period` samples, with the phases in the batch.
    Layers have 1, 4, 16, 32 and 32 times `channels` channels; HiFi-GAN's `channels` is 32.
    """

    def __init__(self, period: int, channels: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, channels, 4 * channels, 16 * channels, 32 * channels, 32 * channels]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv1d(before, after, 5, 3 if number < 4 else 1, 2))
            for number, (before, after) in enumerate(itertools.pairwise(widths))
        )
        self.score = weight_norm(nn.Conv1d(widths[-1], 1, 3, padding=1))

    def forward(self, audio: Tensor) -> list[Tensor]:
        batch, samples = audio.shape
        missing = -samples % self.period
        if missing:
            audio = F.pad(audio[:, None], (0, missing), "reflect")[:, 0]
        rows = audio.reshape(batch, -1, self.period)
        x = rows.transpose(1, 2).reshape(batch * self.period, 1, -1)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
            features.append(x)
        score: Tensor = self.score(x)
        return [score, *features]
