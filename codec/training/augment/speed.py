"""Play audio faster or slower, pitch included, by windowed-sinc interpolation.

The kernel is Kaiser's (beta 8) over 32 samples, with its cut-off at the Nyquist frequency, so that
a speed of 1 changes nothing. What lies in the top of the band is therefore not protected: at
+4 %, content above 1 / 1.04 of the Nyquist frequency folds back, and near it the kernel's edge
leaves images. A tone's error is below -80 dB up to 9 kHz at a sample rate of 24 kHz, -39 dB at 10.5
and -21 dB at 11 kHz; `python -m bench.augmentations` draws it.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

TAPS = 32
BETA = 8.0
PEAK = float(np.i0(BETA))  # of the window before it is scaled
FRACTION_BITS = 24  # of a place between two samples; float32 holds them exactly


def change_speed(audio: Tensor, speed: Tensor, samples: int) -> Tensor:
    """Resample the middle of `audio` to last 1 / `speed` of its time.

    audio: float32 [batch, n]. speed: float32 [batch], above 0. The middle of the result, float32
    [batch, samples], is the middle of `audio`; beyond the ends of `audio` are zeros. Places are
    64-bit integers, so they are the same on every device.
    """
    batch, length = audio.shape
    place = _places(torch.arange(samples, device=audio.device), speed, samples, length)
    fraction = (place & ((1 << FRACTION_BITS) - 1)).float() * 2.0**-FRACTION_BITS
    tap = torch.arange(TAPS, device=audio.device) - (TAPS // 2 - 1)
    index = (place >> FRACTION_BITS)[..., None] + tap
    inside = (index >= 0) & (index < length)
    read = audio.gather(1, index.clamp(0, length - 1).view(batch, -1)).view(index.shape)
    return (read * inside * _kernel(tap, fraction[..., None])).sum(-1)


def places_before(places: Tensor, speed: Tensor, samples: int, length: int) -> Tensor:
    """Say from which sample of the audio before `change_speed` the sample at each place comes.

    places: int64 [n], of the result, which has `samples`. length: samples before. speed: float32
    [batch]. Returns int64 [batch, n], rounded down; they may lie outside of the audio.
    """
    return _places(places, speed, samples, length) >> FRACTION_BITS


def _places(places: Tensor, speed: Tensor, samples: int, length: int) -> Tensor:
    """Compute the place before for each place after, in samples times 2^FRACTION_BITS."""
    one = 1 << FRACTION_BITS
    stride = torch.round(speed.double() * one).long()
    return (places - samples // 2) * stride[:, None] + length // 2 * one


def margin(samples: int, most: float) -> int:
    """Count the samples beyond `samples` that speeds up to `most` read."""
    return math.ceil(samples * (most - 1)) + TAPS


def _kernel(tap: Tensor, fraction: Tensor) -> Tensor:
    """Evaluate the windowed sinc at `tap` - `fraction` samples, exactly 0 or 1 where that is whole.

    sin(pi (tap - fraction)) is sin(pi fraction), negative for even taps: one sine for all taps.
    """
    distance = tap - fraction
    sign = 2.0 * (tap & 1) - 1
    # sin(pi x) is that of 1 - x, which is exact, and near 1 that of x is not.
    sine = torch.sin(math.pi * torch.minimum(fraction, 1 - fraction))
    sinc = sign * sine / (math.pi * distance)
    # Rounding may carry an end of the window just below zero under the root.
    inside = (1 - (distance / (TAPS / 2)).square()).clamp(min=0)
    window = torch.special.i0(BETA * inside.sqrt()) / PEAK
    return torch.where(distance == 0, 1.0, sinc * window)
