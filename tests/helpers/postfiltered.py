"""Voices, and what the postfilter makes of them whole."""

from __future__ import annotations

import numpy as np

from codec.engine.postfilter import postfilter_at
from codec.support.workers import Workers

RATE = 24_000


def voice(samples: int, noise: float, seed: int = 0, period: float = 171.0) -> np.ndarray:
    """Draw a buzz of 20 harmonics and white noise of this deviation, float32 [samples]."""
    n = np.arange(samples)
    buzz = sum(np.cos(2 * np.pi * n * k / period + k * k) / k for k in range(1, 21))
    drawn = np.random.default_rng(seed).standard_normal(samples)
    return (0.2 * buzz + noise * drawn).astype(np.float32)


def whole(audio: np.ndarray) -> np.ndarray:
    """Filter [samples] at once."""
    return np.concatenate(list(postfilter_at(RATE).blocks([audio[None]], Workers())), axis=1)[0]
