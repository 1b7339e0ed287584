"""Measure how much louder or softer the output is to an ear, band by band: a loss after PESQ."""

from __future__ import annotations

import torch
from torch import Tensor, nn

TOP = 8000.0  # hertz: what wide-band PESQ hears
N_BANDS = 49
ACTIVE_LEVEL = 1e7  # mean power of a crop, where 1 is the threshold of hearing at 3 kHz


class LoudnessLoss(nn.Module):
    """Measure the loudness disturbance of `output` from `target`, each float32 [batch, samples].

    The perceptual model of ITU-T P.862 (2001), §10.2.3-10.2.11, in the differentiable form of
    Martín-Doñas et al. 2018 (PMSQE, IEEE SPL 25(11)): powers of windows of 32 ms in 49 bands of
    equal width on the Bark scale, Zwicker's loudness N = P0^.23 ((.5 + .5 P / P0)^.23 - 1), a dead
    zone of a quarter of the softer of the two, and per frame

        symmetric    root mean square over the bands
        asymmetric   mean over the bands times ((Py + 50) / (Px + 50))^1.2, 0 below 3, at most 12:
                     what is added is heard more than what is missing

    joined as PESQ joins them, so that a value of 1 is about one point of its raw score. Over the
    frames the root mean square, of each item its own. Unlike PESQ nothing is compensated, neither
    a gain nor an equalisation: the output should have the target's.
    """

    bands: Tensor
    threshold: Tensor
    window: Tensor

    def __init__(self, sample_rate: int = 24_000) -> None:
        super().__init__()
        self.n_fft = round(0.032 * sample_rate)
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        bands, centres = bark_bands(N_BANDS, self.n_fft, sample_rate)
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("threshold", hearing_threshold(centres), persistent=False)

    def powers(self, x: Tensor) -> Tensor:
        """Compute the power in each band. [batch, samples] -> [batch, frames, N_BANDS]"""
        z = torch.stft(x, self.n_fft, self.n_fft // 2, window=self.window, return_complex=True)
        power: Tensor = (z.real.square() + z.imag.square()).transpose(1, 2) @ self.bands
        return power

    def loudness(self, power: Tensor) -> Tensor:
        quiet = self.threshold
        grown = (0.5 + 0.5 * power / quiet).pow(0.23) - 1
        return quiet.pow(0.23) * grown.clamp(min=0)

    def forward(self, target: Tensor, output: Tensor) -> Tensor:
        """Compare `output` with `target`. Returns a scalar, the mean over the batch."""
        with torch.no_grad():
            px = self.powers(target)
            # a silent crop is not amplified without end: at least -60 dB of full scale
            least = self.n_fft**2 * 3 / 8 * 1e-6
            unit = ACTIVE_LEVEL / px.sum(2).mean(1)[:, None, None].clamp(min=least)
            px = px * unit
            lx = self.loudness(px)
            frame_weight = ((px.sum(2) + 1e5) / 1e7).pow(-0.04)
        py = self.powers(output) * unit
        ly = self.loudness(py)
        disturbance = ((ly - lx).abs() - 0.25 * torch.minimum(lx, ly)).clamp(min=0)
        ratio = ((py + 50) / (px + 50)).detach().pow(1.2)
        added = disturbance * torch.where(ratio < 3, torch.zeros_like(ratio), ratio.clamp(max=12))
        symmetric = disturbance.square().mean(2) * frame_weight.square()
        asymmetric = added.mean(2) * frame_weight
        return (
            BARKS * SYMMETRIC * torch.sqrt(symmetric.mean(1) + 1e-4)
            + BARKS * ASYMMETRIC * torch.sqrt(asymmetric.square().mean(1) + 1e-4)
        ).mean()


SYMMETRIC, ASYMMETRIC = 0.1, 0.0309  # points of the raw score (P.862, §10.2.12)
BARKS = 20.0  # bands are summed by their width, whose total this is


def bark_bands(n_bands: int, n_fft: int, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Compute shares of the bins in bands of equal width up to TOP, and the centres in hertz.

    Shape [bins, n_bands] and [n_bands].

    Bark scale: z = 6 asinh(f / 600) (Wang, Sekey & Gersho 1992).
    """
    top = torch.asinh(torch.tensor(TOP / 600, dtype=torch.float64))
    edges = 600 * torch.sinh(torch.linspace(0, 1, n_bands + 1, dtype=torch.float64) * top)
    centres = 600 * torch.sinh((torch.arange(n_bands) + 0.5).double() / n_bands * top)
    width = sample_rate / n_fft
    low = (torch.arange(n_fft // 2 + 1, dtype=torch.float64) - 0.5)[:, None] * width
    inside = torch.minimum(edges[1:], low + width) - torch.maximum(edges[:-1], low)
    return (inside.clamp(min=0) / width).float(), centres.float()


def hearing_threshold(hertz: Tensor) -> Tensor:
    """Compute the threshold in quiet (Terhardt 1979) as power, 1 for 0 dB."""
    khz = hertz / 1000
    db = 3.64 * khz**-0.8 - 6.5 * torch.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4
    return torch.pow(10.0, db.clamp(max=60) / 10)
