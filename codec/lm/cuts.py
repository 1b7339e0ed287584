"""The same audio cut into frames at several places."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codec.api import Codec
from codec.audio.arrays import as_float32
from codec.audio.resample import resample
from codec.support.types import Codes

CUTS = 4  # in the length of a frame


def cuts_of(
    codec: Codec, audio: npt.ArrayLike, sample_rate: int, levels: int, frames: int | None = None
) -> Codes:
    """Return codes of `audio` from its start and from quarters of a frame later.

    audio: float32, float64 or int16 [samples]. frames: of which only the last so many are cut, and
    the rest is not looked at. The result is uint16 [4, levels, frames], of as many frames as the
    shortest cut has: three quarters of a frame at the end can be missing. Raises what
    `Codec.encode` does.
    """
    rate, hop = codec.config.sample_rate, codec.config.hop_length
    samples = as_float32(audio)
    if frames is not None:
        samples = samples[max(0, len(samples) - (frames + 1) * hop * sample_rate // rate) :]
    samples = resample(samples, sample_rate, rate)
    starts = [k * hop // CUTS for k in range(CUTS)]
    kept = (len(samples) - starts[-1]) // hop
    if kept <= 0:
        return np.zeros((CUTS, levels, 0), np.uint16)
    found = [codec.encode(samples[start:], rate, n_codebooks=levels).codes[0] for start in starts]
    return np.stack([codes[:, :kept] for codes in found])[:, :, -(frames or kept) :]
