"""What all heads share: sizes, random signs, band gains, windows and overlap-add."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.model.config import ModelConfig
from codec.nn.heads.signs import noise_signs, side_keys
from codec.nn.stereo import left_and_right


def band_matrix(n_bands: int, n_bins: int, sample_rate: int) -> Tensor:
    """Build triangles [n_bands, n_bins] that interpolate band gains over the bins of a spectrum.

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
    """Add up overlapping windows: [batch, n, size] -> [batch, n * hop].

    Window i is centred on samples i * hop … + hop.

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
    """Turn frames [batch, n, dim] into audio float32 [batch, n * backbone_hop].

    With config.channels = 2 a frame gives the spectra of the mid and then those of the side, and
    audio is [batch, 2, n * backbone_hop], left and right.

    Each frame gives backbone_hop / synthesis_hop short-time spectra. A subclass says by `parts` how
    many real numbers it takes for each bin, and by `windows_of` what samples they are.

    From config.noise_from on, where the codes carry no phase, the spectra get random signs
    (`noise_signs`): left to itself the network gives every frame the same phases there, which is
    a pulse a frame, and buzzes. The signs depend on the codes of the token frame alone, and so
    not on where in a stream it stands.
    """

    parts = 2
    gains = False  # whether positive band gains multiply the spectra
    window: Tensor
    bands: Tensor

    def __init__(self, config: ModelConfig, dim: int) -> None:
        super().__init__()
        self.hop = config.synthesis_hop
        self.size, self.n_bins = self.sizes(config)
        self.channels = config.channels
        self.per_frame = config.backbone_hop // self.hop
        window = torch.sin(math.pi * (torch.arange(self.size) + 0.5) / self.size)
        # sin^2 windows hop = size / 2^j apart sum to size / (2 hop): divided out here
        self.register_buffer("window", window * (2 * self.hop / self.size), persistent=False)
        matrix = band_matrix(config.gain_bands, self.n_bins, config.sample_rate)
        self.register_buffer("bands", matrix, persistent=False)
        if self.gains:
            self.gain = nn.Linear(dim, self.channels * self.per_frame * config.gain_bands)
            nn.init.zeros_(self.gain.bias)
        self.noise_bin = -(-config.noise_from * 2 * (self.n_bins - 1) // config.sample_rate)
        spectra = self.channels * self.per_frame
        self.shape = nn.Linear(dim, spectra * self.n_bins * self.parts)
        nn.init.normal_(self.shape.weight, std=0.5 / dim**0.5)
        nn.init.zeros_(self.shape.bias)

    @staticmethod
    def sizes(config: ModelConfig) -> tuple[int, int]:
        """Return the samples of a window and the bins of a spectrum."""
        return config.synthesis_fft, config.synthesis_fft // 2 + 1

    def windows_of(self, parts: Tensor, signs: Tensor) -> Tensor:
        """Compute the samples of windows, [batch, windows, size].

        parts [batch, windows, parts, bins]; signs ±1 [batch, windows, bins].
        """
        raise NotImplementedError

    def forward(self, x: Tensor, keys: Tensor) -> Tensor:
        """Compute audio; keys: `noise_keys` of the token frames, int64 [batch, token frames]."""
        batch, n, _ = x.shape
        rows = keys[:, :, None] + torch.arange(n // keys.shape[1], device=x.device)
        rows = rows.view(batch, n, 1)
        shape = self.shape(x)
        gains = self.gain(x) if self.gains else None
        if self.channels == 1:
            return self._signal(shape, gains, rows)
        shapes = shape.chunk(2, -1)
        both = gains.chunk(2, -1) if gains is not None else (None, None)
        mid = self._signal(shapes[0], both[0], rows)
        side = self._signal(shapes[1], both[1], side_keys(rows))
        return left_and_right(torch.stack([mid, side], 1))

    def _signal(self, shape: Tensor, gains: Tensor | None, rows: Tensor) -> Tensor:
        """Compute one signal, [batch, n * backbone_hop]; rows: seeds of frames, [batch, n, 1]."""
        batch, n, _ = shape.shape
        seeds = rows * self.per_frame + torch.arange(self.per_frame, device=shape.device)
        signs = noise_signs(seeds.view(batch, -1), self.n_bins, self.noise_bin)
        shape = shape.reshape(batch, n * self.per_frame, -1, self.n_bins)
        if gains is not None:
            gains = torch.exp(gains.clamp(max=8)).reshape(batch, n * self.per_frame, -1)
            shape = shape * (gains @ self.bands)[:, :, None]
        return overlap_add(self.windows_of(shape, signs) * self.window, self.hop)
