"""Rotate the phases of audio at random before critics hear it (PhaseAug)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VARIANCE, LARGEST_SHIFT = 6.0, 2.0  # of the delay, and the range of its mean: samples
N_FFT = 1024
N_NUMBERS = N_FFT // 2 + 2  # normal numbers for each crop: one for each bin, and one for u
CUTOFF, HALF_WIDTH, TAPS = 0.05, 0.012, 128  # of the low-pass filter over the bins


class PhaseRotation(nn.Module):
    """PhaseAug (Lee et al. 2022, arXiv 2211.04610, §2.3-2.5), by given random numbers.

    Bin k of every frame is multiplied by exp(i phi_k), with phi_k = mu_k 2 pi k / n_fft: a delay
    of mu_k samples. mu is sqrt(6) n_k + 2 u, with n_k standard normal for each bin and u uniform in
    [-1, 1], low-pass filtered over the bins. So nearby partials keep their relation, a critic
    cannot learn phases by heart, and gradients pass through.

    The overlap-add is written out because `torch.istft` looks at the window's sum on the host.
    """

    window: Tensor
    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.n_fft, self.hop = N_FFT, N_FFT // 4
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        self.register_buffer("kernel", _low_pass()[None, None], persistent=False)

    def angles(self, numbers: Tensor) -> Tensor:
        """Compute phi. numbers: standard normal [batch, N_NUMBERS] -> radians [batch, bins]."""
        # u is uniform: the distribution function of a normal number, from -1 to 1
        uniform = torch.erf(numbers[:, -1:] / math.sqrt(2))
        delays = math.sqrt(VARIANCE) * numbers[:, :-1] + LARGEST_SHIFT * uniform
        left = (TAPS - 1) // 2
        padded = F.pad(delays[:, None], (left, TAPS - 1 - left))
        smooth = F.conv1d(padded, self.kernel)[:, 0]
        bins = torch.arange(smooth.shape[1], device=smooth.device)
        return smooth * (2 * math.pi / self.n_fft) * bins

    def forward(self, audio: Tensor, angles: Tensor) -> Tensor:
        """Rotate audio [batch, samples] by `angles` [batch, N_FFT // 2 + 1] radians."""
        samples = audio.shape[1]
        missing = -samples % self.hop
        audio = F.pad(audio, (0, missing))
        z = torch.stft(audio, self.n_fft, self.hop, window=self.window, return_complex=True)
        turned = z * torch.polar(torch.ones_like(angles), angles)[..., None]
        frames = torch.fft.irfft(turned, self.n_fft, dim=1) * self.window[:, None]
        weight = self.window.square()[None, :, None].expand(1, -1, z.shape[2])
        whole = self._overlap(frames) / self._overlap(weight).clamp(min=1e-8)
        return whole[:, self.n_fft // 2 : self.n_fft // 2 + samples]

    def _overlap(self, frames: Tensor) -> Tensor:
        """Add frames [batch, n_fft, n] at their places: [batch, n_fft + (n - 1) hop]."""
        batch, size, count = frames.shape
        length = size + (count - 1) * self.hop
        out = F.fold(frames, (1, length), (1, size), stride=(1, self.hop))
        return out.view(batch, length)


def _low_pass() -> Tensor:
    """Design the low-pass filter: a sinc under a Kaiser window, its sum 1. float32 [TAPS].

    The window's shape follows from the width of the transition (Kaiser 1974).
    """
    attenuation = 2.285 * (TAPS / 2 - 1) * math.pi * 4 * HALF_WIDTH + 7.95
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    elif attenuation >= 21:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    else:
        beta = 0.0
    window = torch.kaiser_window(TAPS, False, beta, dtype=torch.float64)
    time = torch.arange(TAPS, dtype=torch.float64) - TAPS / 2 + 0.5
    kernel = 2 * CUTOFF * window * torch.sinc(2 * CUTOFF * time)
    return (kernel / kernel.sum()).float()
