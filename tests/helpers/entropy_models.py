"""Entropy models small enough to test with, of random numbers."""

from __future__ import annotations

import numpy as np

from codec.coders.data import CONTEXTS, EntropyData, Prior, Tables, quantise_tables

LEVELS, WORDS, DIM, RANK, STATE, HIDDEN = 5, 37, 9, 4, 16, 32
MODEL_ID = bytes(range(8))


def small_tables() -> Tables:
    random = np.random.default_rng(1)
    return quantise_tables(
        0.3 * random.standard_normal((LEVELS, len(CONTEXTS), WORDS, RANK)).astype(np.float32),
        random.standard_normal((LEVELS, WORDS, RANK)).astype(np.float32),
        random.standard_normal((LEVELS, WORDS)).astype(np.float32),
    )


def small_codebooks() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((LEVELS, WORDS, DIM)).astype(np.float32)


def noise(random: np.random.Generator, *shape: int) -> np.ndarray:
    return (random.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32)


def random_prior(random: np.random.Generator, levels: int, words: int, dim: int) -> Prior:
    """Draw the network of the coder `best` for such codebooks."""

    def draw(*shape: int) -> np.ndarray:
        return noise(random, *shape)

    return Prior(
        input_scale=np.array([0.7], np.float32),
        gru_input=draw(3 * STATE, dim + 1),
        gru_state=draw(3 * STATE, STATE),
        gru_input_bias=draw(3 * STATE),
        gru_state_bias=draw(3 * STATE),
        from_state=draw(levels, HIDDEN, STATE),
        from_sum=draw(levels, HIDDEN, dim + 1),
        bias=draw(levels, HIDDEN),
        predict=draw(levels, dim + 1, HIDDEN),
        centre=draw(levels, dim + 1),
        norms=draw(levels, words).astype(np.float16).astype(np.float32),
    )


def small_prior() -> Prior:
    return random_prior(np.random.default_rng(3), LEVELS, WORDS, DIM)


def small_data() -> EntropyData:
    return EntropyData(MODEL_ID, small_tables(), small_prior(), b"testdata")


def random_codes(channels: int, levels: int, frames: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.integers(0, WORDS, (channels, levels, frames)).astype(np.uint16)
