"""Take auraloss's multi-resolution STFT distance as a loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from codec.errors import TrainingError


class MultiResolutionLoss(nn.Module):
    """Spectral convergence and log-magnitude distance at three resolutions.

    auraloss's `MultiResolutionSTFTLoss` with its defaults (Yamamoto et al. 2020, arXiv 1910.11480,
    §2.2). Spectral convergence is a ratio of norms over the whole batch, so several processes, each
    with a part of it, get the mean of the ratios of their parts.

    Raises TrainingError if auraloss is not installed.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        try:
            from auraloss.freq import MultiResolutionSTFTLoss
        except ImportError as error:
            raise TrainingError(
                f"stft_weight needs the package auraloss: pip install auraloss ({error})"
            ) from None
        self.loss = MultiResolutionSTFTLoss()
        for resolution in self.loss.stft_losses:
            resolution.window = resolution.window.to(device)  # not a buffer there

    def forward(self, target: Tensor, output: Tensor) -> Tensor:
        """Compare `output` with `target`, float32 [batch, samples] each. Returns a scalar."""
        distance: Tensor = self.loss(output[:, None], target[:, None])
        return distance
