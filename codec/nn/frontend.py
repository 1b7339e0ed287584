"""Compute what the encoder sees: log-magnitudes at two resolutions and low-band phases."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.model.config import ModelConfig
from codec.nn.stereo import mid_and_side

POWER_FLOOR = 1e-5  # added to powers before the logarithm: about the noise of 16-bit audio


def frames(audio: Tensor, size: int, hop: int) -> Tensor:
    """Cut windows of `size` samples, centred on the frames of `hop` samples.

    audio [batch, n * hop] -> [batch, n, size]; zeros before the start and after the end.
    """
    reach = (size - hop) // 2
    return F.pad(audio, (reach, size - hop - reach)).unfold(1, size, hop)


class FrontEnd(nn.Module):
    """Compute normalised features: audio float32 [batch, n * hop] -> [batch, n, size].

    With config.channels = 2, audio [batch, 2, n * hop] of left and right -> [batch, 2, n, size] of
    mid and side, each with its own normalisation.

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
        shape = (self.size,) if config.channels == 1 else (config.channels, self.size)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))
        for name, size in (("long_window", config.long_fft), ("short_window", config.short_fft)):
            self.register_buffer(name, torch.hann_window(size), persistent=False)

    def raw(self, audio: Tensor) -> Tensor:
        """Compute the features before normalisation."""
        config = self.config
        if config.channels == 2:
            mid, side = mid_and_side(audio).unbind(1)
            return torch.stack([self._of_one(mid), self._of_one(side)], 1)
        return self._of_one(audio)

    def _of_one(self, audio: Tensor) -> Tensor:
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
        mean, scale = self.mean, self.scale
        if self.config.channels == 2:
            mean, scale = mean[:, None], scale[:, None]
        return (self.raw(audio) - mean) * scale

    @torch.no_grad()
    def fit(self, audio: Tensor) -> None:
        """Set the normalisation so that the features of `audio` have mean 0 and variance 1."""
        raw = self.raw(audio)
        raw = raw.transpose(1, 2).flatten(0, 1) if self.config.channels == 2 else raw.flatten(0, 1)
        self.mean.copy_(raw.mean(0))
        self.scale.copy_(1 / raw.std(0).clamp(min=1e-3))
