"""Codebooks that are hard to search, and the scores of codewords as `codec.rvq` defines them."""

from __future__ import annotations

import numpy as np

from tests.helpers.fma import fma


def scores(residual: np.ndarray, words: np.ndarray) -> np.ndarray:
    """half[k] - dot(residual, c_k): [N, D], [K, D] -> [N, K], as `codec.rvq` defines it."""
    dot = np.zeros((len(residual), len(words)), np.float32)
    norm = np.zeros(len(words), np.float32)
    for d in range(words.shape[1]):
        dot = fma(residual[:, d : d + 1], words[None, :, d], dot)
        norm = fma(words[:, d], words[:, d], norm)
    # fma gives a scalar for one vector and one word under some versions of numpy
    return np.reshape(np.float32(0.5) * norm - dot, (len(residual), len(words)))


def hard_words(kind: str, rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Codebooks [Q, K, D] that are hard in one way or another."""
    q, k, _ = shape
    words = rng.standard_normal(shape, np.float32)
    if kind == "int8":  # as this package stores them
        scale = rng.uniform(0.01, 0.02, (q, k, 1)).astype(np.float16).astype(np.float32)
        return rng.integers(-127, 128, shape).astype(np.float32) * scale
    if kind == "repeated":
        return np.take(words, rng.integers(0, min(k, 3), k), axis=1)
    if kind == "an ulp apart":
        near = np.nextafter(words[:, :1], np.float32(np.inf), dtype=np.float32)
        return np.where(rng.random(shape) < 0.5, words[:, :1], near)
    if kind == "grid":
        return np.round(words * 2) / np.float32(3)
    if kind == "spikes":
        return np.where(rng.random(shape) < 0.1, words * np.float32(100), words)
    if kind == "one far off":
        words[:, k // 2] *= np.float32(1000)
    if kind == "some zero":
        words[:, rng.random(k) < 0.5] = 0
    if kind == "subnormal":
        return words * np.float32(1e-42)
    if kind == "barely normal":
        return words * np.float32(1e-18)  # products of these are subnormal
    if kind == "large":
        return words * np.float32(3e17)  # where the screen ends
    if kind == "huge":
        return words * np.float32(5e37)
    if kind == "all magnitudes":
        return words * np.float32(10) ** rng.uniform(-40, 25, (q, k, 1)).astype(np.float32)
    return words


HARD = [
    "gaussian", "int8", "repeated", "an ulp apart", "grid", "spikes", "one far off", "some zero",
    "subnormal", "barely normal", "large", "huge", "all magnitudes",
]  # fmt: skip
