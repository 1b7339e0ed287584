"""Compute what the encoder sees: log-magnitudes at two resolutions and low-band phases."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.model.config import ModelConfig

POWER_FLOOR = 1e-5  # added to powers before the logarithm: about the noise of 16-bit audio


def frames(audio: Tensor, size: int, hop: int) -> Tensor:
    """Cut windows of `size` samples, centred on the frames of `hop` samples.

    audio [batch, n * hop] -> [batch, n, size]; zeros before the start and after the end.
    """
    reach = (size - hop) // 2
    return F.pad(audio, (reach, size - hop - reach)).unfold(1, size, hop)


class FrontEnd(nn.Module):
    """Compute normalised features: audio float32 [batch, n * hop] -> [batch, n, size].

    frame t              |---- hop ----|
    long window    |-------- long_fft --------|
    short windows      |--^--|  every short_fft / 2, hop / (short_fft / 2) of them
    """

    mean: Tensor
    scale: Tensor
    long_window: Tensor
    short_window: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.short_hop = config.short_fft // 2
        self.per_frame = config.backbone_hop // self.short_hop
        self.phase_size = 2 * config.phase_bins + config.long_fft * config.waveform
        self.size = (
            config.long_fft // 2
            + 1
            + self.per_frame * (config.short_fft // 2 + 1)
            + self.phase_size
        )
        self.register_buffer("mean", torch.zeros(self.size))
        self.register_buffer("scale", torch.ones(self.size))
        for name, size in (("long_window", config.long_fft), ("short_window", config.short_fft)):
            self.register_buffer(name, torch.hann_window(size), persistent=False)

    def raw(self, audio: Tensor) -> Tensor:
        """Compute the features before normalisation."""
        config = self.config
        windows = frames(audio, config.long_fft, config.backbone_hop)
        long = torch.fft.rfft(windows * self.long_window)
        short = torch.fft.rfft(frames(audio, config.short_fft, self.short_hop) * self.short_window)
        power = long.real.square() + long.imag.square()
        short_power = short.real.square() + short.imag.square()
        batch, n = power.shape[:2]
        parts = [
            torch.log(power + POWER_FLOOR),
            torch.log(short_power + POWER_FLOOR).reshape(batch, n, -1),
        ]
        if config.phase_bins:
            low = slice(1, config.phase_bins + 1)
            # X / |X|^0.5 by square roots only, which every machine rounds alike
            gain = torch.rsqrt(torch.sqrt(power[..., low] + POWER_FLOOR))
            parts += [long.real[..., low] * gain, long.imag[..., low] * gain]
        if config.waveform:
            loudness = windows.square().mean(-1, keepdim=True)
            parts.append(windows * torch.rsqrt(torch.sqrt(loudness + POWER_FLOOR)))
        return torch.cat(parts, -1)

    def forward(self, audio: Tensor) -> Tensor:
        return (self.raw(audio) - self.mean) * self.scale

    @torch.no_grad()
    def fit(self, audio: Tensor) -> None:
        """Set the normalisation so that the features of `audio` have mean 0 and variance 1."""
        raw = self.raw(audio).flatten(0, 1)
        self.mean.copy_(raw.mean(0))
        self.scale.copy_(1 / raw.std(0).clamp(min=1e-3))
