"""Heads whose windows are inverse FFTs: the one that ships, and two that it is compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from codec.nn.heads.base import SpectralHead


def inverse(spectrum: Tensor, size: int) -> Tensor:
    """Compute windows of `size` samples from complex spectra [..., size / 2 + 1]."""
    windows: Tensor = torch.fft.irfft(spectrum, n=size)
    return windows


class RealImagHead(SpectralHead):
    """Predict real and imaginary parts, linear in the input."""

    def windows_of(self, parts: Tensor, signs: Tensor) -> Tensor:
        real, imaginary = parts.unbind(2)
        return inverse(torch.complex(real, imaginary) * signs, self.size)


class GainShapeHead(RealImagHead):
    """Predict real and imaginary parts, linear in the input, times gains, exponential in it.

    The gains span the dynamic range that a linear layer alone learns slowly; the shapes carry phase
    without a wrap.
    """

    gains = True


class MagPhaseHead(SpectralHead):
    """Predict exp(m) (cos p + i sin p), after Vocos (Siuzdak 2023, arXiv 2306.00814, eq. 3)."""

    def windows_of(self, parts: Tensor, signs: Tensor) -> Tensor:
        magnitude, phase = parts.unbind(2)
        spectrum = torch.polar(torch.exp(magnitude.clamp(max=8)), phase)
        return inverse(spectrum * signs, self.size)
