"""Judge complex spectra of the whole band, or of its lowest part."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm


class SpectralCritic(nn.Module):
    """Score patches of one complex STFT from bin `first` up: a small version of EnCodec's MS-STFTD
    (Défossez et al. 2022, arXiv 2210.13438, fig. 2).

    audio float32 [batch, samples] -> [score, *features], each [batch, channels, frames, bins].
    Dilation grows over time while strides halve the bins. The spectra, relative to the
    loudness of the clip, are compressed to Z / |Z|^0.5 so that weak high bands are seen too.
    """

    window: Tensor

    def __init__(self, n_fft: int, channels: int, first: int = 0) -> None:
        super().__init__()
        self.n_fft, self.first = n_fft, first
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.layers = nn.ModuleList(
            weight_norm(
                nn.Conv2d(inputs, channels, (3, 5), (1, 2), (dilation, 2), dilation=(dilation, 1))
            )
            for inputs, dilation in ((2, 1), (channels, 1), (channels, 2), (channels, 4))
        )
        self.score = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))

    def forward(self, audio: Tensor) -> list[Tensor]:
        loudness = audio.detach().square().mean(1, keepdim=True).sqrt().clamp(min=1e-3)
        z = torch.stft(
            audio / loudness,
            self.n_fft,
            self.n_fft // 4,
            window=self.window,
            normalized=True,
            return_complex=True,
        ).transpose(1, 2)[..., self.first :]
        gain = torch.rsqrt(torch.sqrt(z.real.square() + z.imag.square() + 1e-4))
        x = torch.stack([z.real * gain, z.imag * gain], 1)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return [self.score(x), *features]


class Narrow(nn.Module):
    """Give `critic` the audio at 1 / `factor` of its sample rate.

    All of its channels, and all of its scores, are then about the lowest 1 / `factor` of the band.
    """

    kernel: Tensor

    def __init__(self, critic: nn.Module, factor: int) -> None:
        super().__init__()
        self.critic, self.factor = critic, factor
        # 16 zero crossings of a sinc at 0.92 of the new band under a Hann window
        half = 16 * factor
        n = torch.arange(-half, half + 1, dtype=torch.float64)
        cutoff = 0.92 / factor
        kernel = cutoff * torch.sinc(cutoff * n) * torch.cos(torch.pi / 2 * n / (half + 1)) ** 2
        self.register_buffer("kernel", kernel.float()[None, None], persistent=False)

    def forward(self, audio: Tensor) -> list[Tensor]:
        padding = self.kernel.shape[-1] // 2
        low = F.conv1d(audio[:, None], self.kernel, stride=self.factor, padding=padding)
        out: list[Tensor] = self.critic(low[:, 0])
        return out
