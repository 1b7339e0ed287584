"""From backbone frames to samples: short-time spectra, inverse FFT, overlap-add."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.config import ModelConfig


def band_matrix(n_bands: int, n_bins: int, sample_rate: int) -> Tensor:
    """Triangles that interpolate `n_bands` gains over the bins of a spectrum. [n_bands, n_bins]

    Centres are equidistant on the mel scale of HTK (O'Shaughnessy 1987) from 0 to half the sample
    rate; each bin's weights sum to 1.
    """
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    centres = 700 * (10 ** (torch.linspace(0, top, n_bands, dtype=torch.float64) / 2595) - 1)
    bins = torch.linspace(0, sample_rate / 2, n_bins, dtype=torch.float64)
    upper = torch.searchsorted(centres, bins).clamp(1, n_bands - 1)
    low, high = centres[upper - 1], centres[upper]
    weight = ((bins - low) / (high - low)).clamp(0, 1)
    matrix = torch.zeros(n_bands, n_bins, dtype=torch.float64)
    matrix[upper, torch.arange(n_bins)] = weight
    matrix[upper - 1, torch.arange(n_bins)] += 1 - weight
    return matrix.float()


def overlap_add(windows: Tensor, hop: int) -> Tensor:
    """[batch, n, size] -> [batch, n * hop]; window i is centred on samples i * hop … + hop.

    size - hop must be even; what reaches before the start or past the end is dropped.
    """
    batch, n, size = windows.shape
    length = (n - 1) * hop + size
    out = F.fold(windows.transpose(1, 2), (1, length), (1, size), stride=(1, hop)).view(
        batch, length
    )
    reach = (size - hop) // 2
    return out[:, reach : reach + n * hop]


class SpectralHead(nn.Module):
    """frames [batch, n, dim] -> audio float32 [batch, n * backbone_hop].

    Each frame gives backbone_hop / synthesis_hop spectra. `gain_shape`: real and imaginary parts,
    linear in the input, times positive band gains, exponential in it: the gains span the dynamic
    range that a linear layer alone learns slowly, the shapes carry phase without a wrap.
    `mag_phase`: exp(m) (cos p, sin p), after Vocos (Siuzdak 2023, arXiv 2306.00814, eq. 3).
    """

    window: Tensor
    bands: Tensor

    def __init__(self, config: ModelConfig, dim: int) -> None:
        super().__init__()
        self.kind = config.head
        self.hop, self.size = config.synthesis_hop, config.synthesis_fft
        self.per_frame = config.backbone_hop // self.hop
        self.n_bins = self.size // 2 + 1
        window = torch.sin(math.pi * (torch.arange(self.size) + 0.5) / self.size)
        # sin^2 windows hop = size / 2^j apart sum to size / (2 hop): divided out here
        self.register_buffer("window", window * (2 * self.hop / self.size), persistent=False)
        matrix = band_matrix(config.gain_bands, self.n_bins, config.sample_rate)
        self.register_buffer("bands", matrix, persistent=False)
        if self.kind == "gain_shape":
            self.gain = nn.Linear(dim, self.per_frame * config.gain_bands)
            nn.init.zeros_(self.gain.bias)
        self.shape = nn.Linear(dim, self.per_frame * self.n_bins * 2)
        nn.init.normal_(self.shape.weight, std=0.5 / dim**0.5)
        nn.init.zeros_(self.shape.bias)

    def forward(self, x: Tensor) -> Tensor:
        batch, n, _ = x.shape
        first, second = self.shape(x).view(batch, n * self.per_frame, 2, self.n_bins).unbind(2)
        if self.kind == "gain_shape":
            gains = torch.exp(self.gain(x).clamp(max=8)).view(batch, n * self.per_frame, -1)
            gain = gains @ self.bands
            spectrum = torch.complex(first * gain, second * gain)
        else:
            spectrum = torch.polar(torch.exp(first.clamp(max=8)), second)
        windows = torch.fft.irfft(spectrum, n=self.size) * self.window
        return overlap_add(windows, self.hop)
