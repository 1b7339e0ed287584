"""Measure the distance of log-mel spectra at seven windows, as DAC trains with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from codec.kernels.mel_filters import filters

# FFT size and mel bands (DAC: Kumar et al. 2023, arXiv 2306.06546, §3.4).
WINDOWS = ((32, 5), (64, 10), (128, 20), (256, 40), (512, 80), (1024, 160), (2048, 320))
QUIETEST = 1e-5  # smaller mel values count as this one


class LogMelLoss(nn.Module):
    """Sum over WINDOWS of mean |log10 max(m(x), 1e-5) - log10 max(m(y), 1e-5)|.

    m is the magnitude spectrum (Hann window, hop a quarter of it, edges reflected) in mel bands of
    Slaney's scale and unit area, from 0 Hz to half the sample rate. Many short windows and few long
    ones keep both transients and pitch; DAC gives the sum a weight of 15.
    """

    def __init__(self, sample_rate: int = 24_000) -> None:
        super().__init__()
        for n_fft, n_mels in WINDOWS:
            bank = filters(sample_rate, n_fft, n_mels, 0.0, sample_rate / 2, "slaney", area=True)
            self.register_buffer(f"bank{n_fft}", torch.from_numpy(bank.T).float(), persistent=False)
            self.register_buffer(f"window{n_fft}", torch.hann_window(n_fft), persistent=False)

    def mel(self, audio: Tensor, n_fft: int) -> Tensor:
        """Compute m of audio [batch, samples]: [batch, frames, mels]."""
        window = self.get_buffer(f"window{n_fft}")
        z = torch.stft(audio, n_fft, n_fft // 4, window=window, return_complex=True)
        # far below QUIETEST; where a bin is 0 the root still has a gradient
        magnitude = torch.sqrt(z.real.square() + z.imag.square() + 1e-16)
        mel: Tensor = magnitude.transpose(1, 2) @ self.get_buffer(f"bank{n_fft}")
        return mel

    def forward(self, target: Tensor, output: Tensor) -> Tensor:
        """Compare `output` with `target`, float32 [batch, samples] each. Returns a scalar."""
        distances = []
        for n_fft, _ in WINDOWS:
            with torch.no_grad():
                wanted = self.mel(target, n_fft).clamp(min=QUIETEST).log10()
            found = self.mel(output, n_fft).clamp(min=QUIETEST).log10()
            distances.append((wanted - found).abs().mean())
        return torch.stack(distances).sum()
