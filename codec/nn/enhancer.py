"""The enhancer in PyTorch, for training: csrc/engine/enhancer.h has the formulas."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from codec.model.enhancer_config import SAMPLE_RATE, EnhancerConfig
from codec.nn.blocks import Backbone
from codec.nn.heads.base import band_matrix, overlap_add

MEAN_FLOOR, BIN_FLOOR = 1e-7, 1e-4
STEEPEST = 3.0  # of a gain's logarithm


class Enhancer(nn.Module):
    """Give decoded audio float32 [batch, samples] a sound that is closer to the original's."""

    window: Tensor
    bands: Tensor

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("window", torch.hann_window(config.fft), persistent=False)
        matrix = band_matrix(config.bands, config.bins, SAMPLE_RATE)
        self.register_buffer("bands", matrix, persistent=False)
        self.embed = nn.Linear(config.features, config.dim)
        self.norm = nn.LayerNorm(config.dim)
        self.backbone = Backbone(
            config.dim, config.hidden, config.blocks, config.kernel_size, config.lookahead
        )
        self.factors = nn.Linear(config.dim, config.factors)
        nn.init.normal_(self.factors.weight, std=0.002)  # it begins by changing nearly nothing
        nn.init.zeros_(self.factors.bias)

    def forward(self, seen: Tensor, known: Tensor) -> Tensor:
        """Enhance audio to float32 [batch, samples], of a number of samples that the hop divides.

        seen: float32 [batch, 3, samples + 2 (fft - hop)], known: float32 [batch, frames, 3], as
        `codec.engine.periods.around` gives them.
        """
        config = self.config
        frames = seen.unfold(2, config.fft, config.hop) * self.window
        x, past, future = torch.fft.rfft(frames).unbind(1)
        past, future = past[..., : config.narrow], future[..., : config.narrow]
        factors = self.factors(
            self.backbone(self.norm(self.embed(features(x, past, future, known))))
        )
        enhanced = self._enhanced(x, past, future, factors)
        hop, margin = config.hop, config.fft - config.hop
        scale = self.window * (hop / self.window.square().sum())
        windows = torch.fft.irfft(enhanced, config.fft) * scale
        # overlap_add gives the hop in the middle of each window
        whole = overlap_add(windows, hop)
        inner = margin - (config.fft - hop) // 2
        return whole[:, inner : inner + seen.shape[2] - 2 * margin]

    def _enhanced(self, x: Tensor, past: Tensor, future: Tensor, factors: Tensor) -> Tensor:
        config = self.config
        wide, narrow = config.wide, config.narrow
        *parts, gains = torch.split(factors.float(), [wide] * 2 + [narrow] * 4 + [config.bands], -1)
        own, before, after = (
            torch.complex(parts[i], parts[i + 1]) for i in range(0, len(parts), 2)
        )
        loud = x * torch.exp((gains @ self.bands).clamp(-STEEPEST, STEEPEST))
        changed = loud[..., :wide] * (1 + own)
        mixed = changed[..., :narrow] + before * past + after * future
        return torch.cat([mixed, changed[..., narrow:], loud[..., wide:]], -1)


def features(x: Tensor, past: Tensor, future: Tensor, known: Tensor) -> Tensor:
    """Describe spectra, complex [batch, frames, bins] and [..., narrow], and periods."""
    mean = _power(x).mean(-1, keepdim=True) + MEAN_FLOOR
    own = _power(x) / mean + BIN_FLOOR
    log_own, narrow = 0.2 * own.log(), past.shape[-1]
    ratios, products = [], []
    for shifted in (past, future):
        other = _power(shifted) / mean + BIN_FLOOR
        product = shifted * x[..., :narrow].conj()
        scale = (mean * (own[..., :narrow] * other).sqrt()).reciprocal()
        ratios.append(0.2 * other.log() - log_own[..., :narrow])
        products += [product.real * scale, product.imag * scale]
    return torch.cat([log_own, *ratios, *products, 0.1 * mean.log(), known], -1)


def _power(z: Tensor) -> Tensor:
    return z.real.square() + z.imag.square()
