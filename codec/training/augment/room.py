"""Put audio into a simple room: decaying noise as the impulse response.

The model is Polack's (1988): late reverberation is Gaussian noise under an exponential decay, fully
told by the time to decay by 60 dB. Early reflections are not modelled. A crop begins in silence:
there is no reverberation of what was before it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

DELAY_SECONDS = 0.005  # from the direct sound to the first of the reverberation


def response(noise: Tensor, decay_seconds: Tensor, level: Tensor, sample_rate: int) -> Tensor:
    """Make impulse responses: a direct sound of 1 at sample 0, then the room.

    noise: float32 [batch, length], standard normal. decay_seconds: float32 [batch], to decay by
    60 dB; what remains at the end of `length` is cut off. level: float32 [batch], the energy of the
    reverberation in dB relative to the direct sound.
    """
    time = torch.arange(noise.shape[1], device=noise.device) / sample_rate - DELAY_SECONDS
    envelope = torch.exp(-3 * math.log(10) * time / decay_seconds[:, None]) * (time >= 0)
    tail = noise * envelope
    energy = tail.square().sum(1).clamp(min=1e-12)
    tail = tail * (10 ** (level / 20) / energy.sqrt())[:, None]
    direct = (torch.arange(noise.shape[1], device=noise.device) == 0).float()
    return direct + tail


def convolve(audio: Tensor, response: Tensor) -> Tensor:
    """Convolve audio [batch, samples] with responses [batch, length]; the first `samples`."""
    samples, length = audio.shape[1], response.shape[1]
    size = 2 ** math.ceil(math.log2(samples + length - 1))
    spectrum = torch.fft.rfft(audio, size) * torch.fft.rfft(response, size)
    heard: Tensor = torch.fft.irfft(spectrum, size)
    return heard[:, :samples]
