"""Critics of short-time spectra of the whole band or its lowest part, and the losses they give."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm


class SpectralCritic(nn.Module):
    """Scores patches of one complex STFT from bin `first` up; a small version of EnCodec's
    MS-STFTD (Défossez et al. 2022, arXiv 2210.13438, fig. 2).

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
    """`critic` on audio brought down to 1 / `factor` of its sample rate, so that all of its
    channels and all of its vote go to the lowest 1 / `factor` of the band."""

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


class Critics(nn.ModuleList):
    """A `SpectralCritic` for each of `kinds`, (factor, n_fft): of audio at 1 / factor of its sample
    rate. At the full rate it hears what lies above the share `low` of the band: where the codes
    carry phase, a critic's taste costs fidelity.
    """

    def __init__(self, kinds: Sequence[tuple[int, int]], channels: int, low: float = 0.0) -> None:
        super().__init__(
            SpectralCritic(n_fft, channels, round(low * n_fft / 2))
            if factor == 1
            else Narrow(SpectralCritic(n_fft, channels), factor)
            for factor, n_fft in kinds
        )

    def draw(self, count: int, random: np.random.Generator) -> list[nn.Module]:
        """`count` of them, or all if there are fewer."""
        drawn = random.permutation(len(self))[:count]
        return [self[int(number)] for number in drawn]


@dataclasses.dataclass(frozen=True)
class Judgement:
    critic: Tensor  # the critic's own hinge loss, scalar
    adversarial: Tensor  # the generator's, scalar
    features: Tensor  # distance of the features, each layer's relative to its mean size, scalar


def judge(
    critic: nn.Module,
    target: Tensor,
    output: Tensor,
    mean: Callable[[Tensor], Tensor] = Tensor.detach,
) -> Judgement:
    """Hinge losses and feature matching of `output` against `target`, [batch, samples] each.

    mean: the mean of a number over all parts of the batch, where this is one of them.

    Hinge: Lim & Ye 2017, arXiv 1705.02894; feature matching: EnCodec, eq. 2.
    """
    real_score, *real = critic(target)
    fake_score, *fake = critic(output)
    distances = [
        (a.detach() - b).abs().mean() / mean(a.abs().mean()).clamp(min=1e-6)
        for a, b in zip(real, fake, strict=True)
    ]
    return Judgement(
        critic=F.relu(1 - real_score).mean() + F.relu(1 + fake_score).mean(),
        adversarial=F.relu(1 - fake_score).mean(),
        features=torch.stack(distances).mean(),
    )


def judge_all(
    critics: Sequence[nn.Module],
    target: Tensor,
    output: Tensor,
    mean: Callable[[Tensor], Tensor] = Tensor.detach,
) -> Judgement:
    """The means of what `critics` say; `mean` as for `judge`."""
    judgements = [judge(critic, target, output, mean) for critic in critics]
    return Judgement(
        critic=torch.stack([one.critic for one in judgements]).mean(),
        adversarial=torch.stack([one.adversarial for one in judgements]).mean(),
        features=torch.stack([one.features for one in judgements]).mean(),
    )
