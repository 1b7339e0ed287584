"""Judge complex or log-magnitude spectra of any even FFT size, whole or in bands."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

# Edges as fractions of the spectrum (DAC: Kumar et al. 2023, arXiv 2306.06546, its implementation).
BANDS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
QUIETEST = 1e-8  # power of a bin, where white noise of full scale has 1: -80 dB


class SpectrumCritic(nn.Module):
    """Score an STFT by 2-D convolutions over time and frequency.

    audio float32 [batch, samples] -> [score, *features], each [batch, channels, frames, bins].

    Of complex values this is a discriminator of EnCodec's MS-STFTD (Défossez et al. 2022, arXiv
    2210.13438, fig. 2): real and imaginary parts, dilation 1, 2, 4 over time, the bins halved three
    times. With `magnitude` its input is ln sqrt(|z|^2 + QUIETEST) instead, as critics of magnitudes
    have it since UnivNet (Jang et al. 2021, arXiv 2106.07889); HILCodec (Ahn et al. 2024, arXiv
    2405.04752) gives them 16 channels. With `bands` each of DAC's five bands has layers of its own
    (Kumar et al. 2023, arXiv 2306.06546, §3.3), and one last layer scores all of them.

    The STFT has a Hann window, a hop of a quarter of it, no padding, and unit power for white noise
    of unit power.
    """

    window: Tensor

    def __init__(
        self, n_fft: int, channels: int, *, magnitude: bool = False, bands: bool = False
    ) -> None:
        super().__init__()
        self.n_fft, self.magnitude = n_fft, magnitude
        window = torch.hann_window(n_fft)
        self.register_buffer("window", window, persistent=False)
        self.scale = float(window.square().sum().rsqrt())
        bins = n_fft // 2 + 1
        edges = [int(edge * bins) for edge in BANDS] if bands else [0, bins]
        self.widths = [high - low for low, high in itertools.pairwise(edges)]
        inputs = 1 if magnitude else 2
        self.stacks = nn.ModuleList(_layers(inputs, channels) for _ in self.widths)
        self.score = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))

    def spectrum(self, audio: Tensor) -> Tensor:
        """Compute what the layers see: float32 [batch, 1 or 2, frames, bins]."""
        z = torch.stft(
            audio,
            self.n_fft,
            self.n_fft // 4,
            window=self.window,
            center=False,
            return_complex=True,
        ).transpose(1, 2)
        real, imag = z.real * self.scale, z.imag * self.scale
        if self.magnitude:
            return (0.5 * torch.log(real.square() + imag.square() + QUIETEST))[:, None]
        return torch.stack([real, imag], 1)

    def forward(self, audio: Tensor) -> list[Tensor]:
        features, ends = [], []
        parts = torch.split(self.spectrum(audio), self.widths, 3)
        for part, stack in zip(parts, self.stacks, strict=True):
            x = part
            for layer in stack:  # type: ignore[attr-defined]
                x = F.leaky_relu(layer(x), 0.2)
                features.append(x)
            ends.append(x)
        score: Tensor = self.score(torch.cat(ends, 3))
        return [score, *features]


def _layers(inputs: int, channels: int) -> nn.ModuleList:
    """Build EnCodec's layers up to the last but one."""
    return nn.ModuleList(
        [
            weight_norm(nn.Conv2d(inputs, channels, (3, 9), padding=(1, 4))),
            *(
                weight_norm(
                    nn.Conv2d(
                        channels, channels, (3, 9), (1, 2), (dilation, 4), dilation=(dilation, 1)
                    )
                )
                for dilation in (1, 2, 4)
            ),
            weight_norm(nn.Conv2d(channels, channels, (3, 3), padding=(1, 1))),
        ]
    )
