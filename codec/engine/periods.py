"""Decoded audio with that of a period before and after: what an enhancer's network learns from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codec.engine._engine import periods
from codec.model.enhancer_config import PERIOD_HOP, EnhancerConfig

Floats = npt.NDArray[np.float32]


def around(audio: Floats, config: EnhancerConfig) -> tuple[Floats, Floats]:
    """Find the periods of audio float32 [batch, samples], a number that the hop divides.

    Returns the audio as frames see it, float32 [batch, 3, samples + 2 (fft - hop)]: itself, a
    period before, and a period after, with zeros around. And what is known of the period in each
    frame, float32 [batch, frames, 3]: lag / 200, 4 share, and whether there is one
    (csrc/engine/enhancer.h).
    """
    margin = config.fft - config.hop
    first, step = config.fft // 2 // PERIOD_HOP, config.hop // PERIOD_HOP
    seen, known = [], []
    for one in np.pad(audio, ((0, 0), (margin, margin))):
        past, future, lags, shares = periods(np.ascontiguousarray(one))
        frames = slice(first, len(lags) - first, step)
        lag, share = lags[frames], shares[frames]
        seen.append(np.stack([one, past, future]))
        known.append(np.stack([lag / np.float32(200), 4 * share, share > 0], 1))
    return np.stack(seen), np.stack(known).astype(np.float32)
