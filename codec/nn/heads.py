"""Turn backbone frames into samples: short-time spectra, inverse FFT, overlap-add."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.errors import ModelError
from codec.model.config import ModelConfig


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


def noise_signs(seeds: Tensor, n_bins: int, first_bin: int) -> Tensor:
    """Draw signs ±1 of spectra with `seeds`, int64 [...] below 2^32 -> float32 [..., n_bins].

    They are 1 below `first_bin`; from there on they are the lowest bit of a hash of seed and bin,
    in integers modulo 2^32 (multiply-xorshift with the constants of C. Wellons's hash "triple32"),
    so that every machine draws the same.
    """
    k = torch.arange(n_bins, dtype=torch.int64, device=seeds.device)
    mask = 0xFFFFFFFF
    h = (seeds[..., None] * 0x9E3779B1 + k) & mask
    for shift, factor in ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB)):
        h = ((h ^ (h >> shift)) * factor) & mask
    h ^= h >> 14
    return torch.where((k >= first_bin) & (h & 1 == 1), -1.0, 1.0)


def noise_keys(codes: Tensor) -> Tensor:
    """Compute the key by which a token frame draws its signs: FNV-1a of its codes, modulo 2^32.

    codes int64 [n_codebooks, ...] -> int64 [...]
    """
    keys = torch.full_like(codes[0], 0x811C9DC5)
    for level in codes:
        keys = ((keys ^ level) * 0x01000193) & 0xFFFFFFFF
    return keys


HEADS = ("gain_shape", "mag_phase", "real_imag", "mdct")


class SpectralHead(nn.Module):
    """Turn frames [batch, n, dim] into audio float32 [batch, n * backbone_hop].

    Each frame gives backbone_hop / synthesis_hop short-time spectra, by `config.head`:

    gain_shape  real and imaginary parts, linear in the input, times positive band gains,
                exponential in it: the gains span the dynamic range that a linear layer alone
                learns slowly, the shapes carry phase without a wrap
    mag_phase   exp(m) (cos p + i sin p), after Vocos (Siuzdak 2023, arXiv 2306.00814, eq. 3)
    real_imag   real and imaginary parts alone
    mdct        synthesis_hop real coefficients times band gains; windows of 2 synthesis_hop

    From config.noise_from on, where the codes carry no phase, the spectra get random signs
    (`noise_signs`): left to itself the network gives every frame the same phases there, which is
    a pulse a frame, and buzzes. The signs depend on the codes of the token frame alone, and so
    not on where in a stream it stands.
    """

    window: Tensor
    bands: Tensor
    basis: Tensor

    def __init__(self, config: ModelConfig, dim: int) -> None:
        super().__init__()
        if config.head not in HEADS:
            raise ModelError(f"there is no head {config.head!r}; there are {', '.join(HEADS)}")
        self.kind = config.head
        self.hop = config.synthesis_hop
        self.size = 2 * self.hop if self.kind == "mdct" else config.synthesis_fft
        self.per_frame = config.backbone_hop // self.hop
        self.n_bins = self.hop if self.kind == "mdct" else self.size // 2 + 1
        window = torch.sin(math.pi * (torch.arange(self.size) + 0.5) / self.size)
        # sin^2 windows hop = size / 2^j apart sum to size / (2 hop): divided out here
        self.register_buffer("window", window * (2 * self.hop / self.size), persistent=False)
        matrix = band_matrix(config.gain_bands, self.n_bins, config.sample_rate)
        self.register_buffer("bands", matrix, persistent=False)
        if self.kind in ("gain_shape", "mdct"):
            self.gain = nn.Linear(dim, self.per_frame * config.gain_bands)
            nn.init.zeros_(self.gain.bias)
        self.noise_bin = -(-config.noise_from * 2 * (self.n_bins - 1) // config.sample_rate)
        parts = 1 if self.kind == "mdct" else 2
        self.shape = nn.Linear(dim, self.per_frame * self.n_bins * parts)
        nn.init.normal_(self.shape.weight, std=0.5 / dim**0.5)
        nn.init.zeros_(self.shape.bias)
        if self.kind == "mdct":
            n = torch.arange(self.size, dtype=torch.float64)[None] + (1 + self.hop) / 2
            k = torch.arange(self.hop, dtype=torch.float64)[:, None] + 0.5
            # scaled like the inverse FFT, so that all heads start equally loud
            basis = torch.cos(math.pi / self.hop * n * k) * (2 / self.hop)
            self.register_buffer("basis", basis.float(), persistent=False)

    def forward(self, x: Tensor, keys: Tensor) -> Tensor:
        """Compute audio; keys: `noise_keys` of the token frames, int64 [batch, token frames]."""
        batch, n, _ = x.shape
        rows = keys[:, :, None] + torch.arange(n // keys.shape[1], device=x.device)
        seeds = rows.view(batch, n, 1) * self.per_frame
        seeds = seeds + torch.arange(self.per_frame, device=x.device)
        signs = noise_signs(seeds.view(batch, -1), self.n_bins, self.noise_bin)
        shape = self.shape(x).view(batch, n * self.per_frame, -1, self.n_bins)
        if self.kind in ("gain_shape", "mdct"):
            gains = torch.exp(self.gain(x).clamp(max=8)).view(batch, n * self.per_frame, -1)
            shape = shape * (gains @ self.bands)[:, :, None]
        if self.kind == "mdct":
            windows = (shape[:, :, 0] * signs) @ self.basis
        else:
            first, second = shape.unbind(2)
            if self.kind == "mag_phase":
                spectrum = torch.polar(torch.exp(first.clamp(max=8)), second)
            else:
                spectrum = torch.complex(first, second)
            windows = torch.fft.irfft(spectrum * signs, n=self.size)
        return overlap_add(windows * self.window, self.hop)
