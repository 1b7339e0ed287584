"""Make noise between white and pink."""

from __future__ import annotations

import torch
from torch import Tensor

LOWEST = 50.0  # hertz; below, the density is that at 50 Hz


def colour(white: Tensor, exponent: Tensor, sample_rate: int) -> Tensor:
    """Shape the power density of `white` to fall as 1 / frequency^exponent.

    white: float32 [batch, samples]. exponent: float32 [batch]; 0 is white, 1 pink, 2 brown. The
    result repeats with the period of its length, as noise may.
    """
    samples = white.shape[1]
    hertz = torch.fft.rfftfreq(samples, 1 / sample_rate, device=white.device).clamp(min=LOWEST)
    gain = (hertz / LOWEST) ** (-exponent[:, None] / 2)
    shaped: Tensor = torch.fft.irfft(torch.fft.rfft(white) * gain, samples)
    return shaped
