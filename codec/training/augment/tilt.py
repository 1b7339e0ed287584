"""Tilt the spectrum: so many decibels more for each octave, as microphones and rooms do."""

from __future__ import annotations

import torch
from torch import Tensor

CENTRE = 1000.0  # hertz, where the gain is 0 dB
LOWEST, HIGHEST = 62.5, 16_000.0  # hertz; the gain stays the same beyond, 4 octaves either way
PAD = 2048  # zeros at the end of a crop, so that the filter does not wrap around


def tilt(audio: Tensor, slope: Tensor, sample_rate: int) -> Tensor:
    """Scale each frequency by `slope` dB for each octave above 1 kHz, without a delay.

    audio: float32 [batch, samples]. slope: float32 [batch], dB per octave. The filter has zero
    phase. A slope of 0 changes nothing but for rounding.
    """
    samples = audio.shape[1]
    size = samples + PAD
    hertz = torch.fft.rfftfreq(size, 1 / sample_rate, device=audio.device)
    octaves = torch.log2(hertz.clamp(LOWEST, HIGHEST) / CENTRE)
    gain = 10 ** (slope[:, None] * octaves / 20)
    tilted: Tensor = torch.fft.irfft(torch.fft.rfft(audio, size) * gain, size)
    return tilted[:, :samples]
