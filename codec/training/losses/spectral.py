"""Measure log-mel distance and compressed complex error of short-time spectra."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from codec.kernels.mel_filters import filters


@dataclasses.dataclass(frozen=True)
class Scale:
    """One resolution: FFT size, mel bands, and whether complex values are compared."""

    n_fft: int
    n_mels: int
    complex: bool


SCALES = (
    Scale(2048, 128, False),
    Scale(1024, 80, True),
    Scale(512, 64, True),
    Scale(256, 40, False),
    Scale(128, 20, False),
)


class SpectralLoss(nn.Module):
    """Measure distances of `output` from `target`, each float32 [batch, samples].

    mel: mean |ln mel(x) - ln mel(y)| over the scales, hop a quarter of the window.
    magnitude, phase: with Z' = Z / |Z|^0.5 (compressed as in Braun & Tashev 2020, arXiv
    2009.12286, eq. 5, with c = 0.5: the gradients then need square roots only), the mean squares
    of |X'| - |Y'| and of X' - Y', each relative to the mean of |X'|^2, over the bins up to
    `phase_edge` hertz for `phase` (weight falling to `phase_tail` above) and all for `magnitude`.
    """

    def __init__(
        self,
        sample_rate: int = 24_000,
        scales: tuple[Scale, ...] = SCALES,
        phase_edge: float = 4000.0,
        phase_tail: float = 0.1,
    ) -> None:
        super().__init__()
        self.scales = scales
        for scale in scales:
            bins = scale.n_fft // 2 + 1
            window = torch.hann_window(scale.n_fft)
            self.register_buffer(f"window{scale.n_fft}", window, persistent=False)
            bank = filters(
                sample_rate, scale.n_fft, scale.n_mels, 0.0, sample_rate / 2, "htk", area=False
            )
            self.register_buffer(
                f"bank{scale.n_fft}", torch.from_numpy(bank.T).float(), persistent=False
            )
            hertz = torch.linspace(0, sample_rate / 2, bins)
            weight = torch.exp((phase_edge - hertz) / (phase_edge / 4)).clamp(phase_tail, 1)
            self.register_buffer(f"weight{scale.n_fft}", weight / weight.mean(), persistent=False)

    def spectrum(self, x: Tensor, n_fft: int) -> tuple[Tensor, Tensor]:
        """Compute the complex STFT [batch, frames, bins] and its power."""
        window = self.get_buffer(f"window{n_fft}")
        z = torch.stft(x, n_fft, n_fft // 4, window=window, return_complex=True).transpose(1, 2)
        return z, z.real.square() + z.imag.square()

    def forward(
        self,
        target: Tensor,
        output: Tensor,
        scales: Sequence[Scale] | None = None,
        phase_share: Tensor | None = None,
        mean: Callable[[Tensor], Tensor] = Tensor.detach,
    ) -> dict[str, Tensor]:
        """Compute the three distances; of `phase`, item b counts `phase_share`[b] (1 when None).

        mean: the mean of a number over all parts of the batch, where this is one of them.
        """
        if phase_share is None:
            phase_share = output.new_ones(len(output))
        scales = self.scales if scales is None else scales
        loud = target.square().mean(1, keepdim=True).sqrt().clamp(min=1e-3)
        mel = magnitude = phase = output.new_zeros(())
        n_complex = 0
        for scale in scales:
            with torch.no_grad():
                x, px = self.spectrum(target, scale.n_fft)
            y, py = self.spectrum(output, scale.n_fft)
            bank = self.get_buffer(f"bank{scale.n_fft}")
            # powers of a window of energy 3/8 n_fft: floor at -100 dB of full scale
            floor = scale.n_fft * 3 / 8 * 1e-7
            mel_x = torch.log((px + floor) @ bank + 1e-9)
            mel_y = torch.log((py + floor) @ bank + 1e-9)
            mel = mel + (mel_x - mel_y).abs().mean() / 2
            if not scale.complex:
                continue
            n_complex += 1
            unit = (loud.square() * scale.n_fft)[..., None]
            gx = torch.rsqrt(torch.sqrt(px / unit + 1e-4))
            gy = torch.rsqrt(torch.sqrt(py / unit + 1e-4))
            root = unit.sqrt()
            dr = (x.real * gx - y.real * gy) / root
            di = (x.imag * gx - y.imag * gy) / root
            energy_x = px / unit * gx.square()
            dm = torch.sqrt(energy_x + 1e-8) - torch.sqrt(py / unit * gy.square() + 1e-8)
            weight = self.get_buffer(f"weight{scale.n_fft}")
            error = ((dr.square() + di.square()) * weight).mean((1, 2))
            phase = phase + (error * phase_share).mean() / (mean((energy_x * weight).mean()) + 1e-6)
            magnitude = magnitude + dm.square().mean() / (mean(energy_x.mean()) + 1e-6)
        return {
            "mel": mel / len(scales),
            "magnitude": magnitude / max(n_complex, 1),
            "phase": phase / max(n_complex, 1),
        }
