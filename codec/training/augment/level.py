"""Set levels: gains without clipping, and one signal under another."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

GAIN_STEPS = 1024  # a gain is drawn from so many, evenly apart in dB


def gain_table(low: float, high: float) -> Tensor:
    """Make the GAIN_STEPS factors between two gains in dB, float32.

    From a table, made on the CPU, since powers differ between devices by rounding.
    """
    decibels = low + (high - low) * np.arange(GAIN_STEPS) / (GAIN_STEPS - 1)
    return torch.from_numpy((10 ** (decibels / 20)).astype(np.float32))


def scale(audio: Tensor, factor: Tensor, channels: int = 1) -> Tensor:
    """Multiply audio [batch, samples] by `factor` [batch], less where that would exceed 1.

    Rows that follow one another, `channels` of them, are the channels of one signal: what one of
    them would exceed, all are scaled by.

    Every operation is exact in the sense of IEEE 754, so all devices give the same bits.
    """
    peak = audio.abs().amax(1)
    if channels > 1:
        peak = peak.view(-1, channels).amax(1).repeat_interleave(channels)
    clips = factor.abs() * peak > 1
    limited = torch.where(clips, torch.sign(factor) / peak, factor)
    # peak * (1 / peak) may round to just over 1.
    return (audio * limited[:, None]).clamp(-1, 1)


def add_below(audio: Tensor, other: Tensor, decibels: Tensor, channels: int = 1) -> Tensor:
    """Add `other`, scaled to lie so many decibels below `audio` in energy.

    audio, other: float32 [batch, samples]. decibels: float32 [batch]. Silence stays as it is: if
    either is silent, nothing is added. channels: as for `scale`; their energies are added up.
    """
    energy, added = (x.square().sum(1) for x in (audio, other))
    if channels > 1:
        energy, added = (
            x.view(-1, channels).sum(1).repeat_interleave(channels) for x in (energy, added)
        )
    ratio = torch.sqrt(energy / added.clamp(min=1e-12)) * 10 ** (-decibels / 20)
    return audio + (ratio * (added > 1e-12))[:, None] * other
