"""Signals to measure and to code, in NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
RATE = 24_000


def noise(samples: int, seed: int = 0, scale: float = 0.1) -> Samples:
    """Draw white noise, float32 [samples]."""
    return np.random.default_rng(seed).normal(0, scale, samples).astype(np.float32)


def syllables(seconds: float = 3.0) -> Samples:
    """Make bursts of harmonics, four a second: enough like speech for PESQ to find utterances."""
    time = np.arange(round(seconds * RATE)) / RATE
    voice = np.sum([np.sin(2 * np.pi * 130 * k * time) / k for k in range(1, 40)], axis=0)
    envelope = np.clip(np.sin(2 * np.pi * 2 * time), 0, None)
    return (0.1 * voice * envelope + noise(len(time), scale=1e-4)).astype(np.float32)
