"""Small models of random numbers, with the data of their entropy coders, for tests of libcodec."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.random_weights import SMALL, write_weights
from codec.coders import data
from codec.coders.data import CONTEXTS, Prior
from codec.model.config import ModelConfig
from codec.model.weights_file import WeightsFile


def write_model(path: Path, config: ModelConfig = SMALL, seed: int = 0) -> Path:
    """Write weights to `path` and data of their coders beside it; return `path`."""
    write_weights(path, config, seed)
    random = np.random.default_rng(seed)
    levels, words, dim, rank, state, hidden = (
        config.n_codebooks, config.codebook_size, config.latent_dim, 3, 16, 32,
    )  # fmt: skip

    def noise(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32)

    tables = data.quantise_tables(
        noise(levels, len(CONTEXTS), words, rank), noise(levels, words, rank), noise(levels, words)
    )
    prior = Prior(
        input_scale=np.array([0.7], np.float32),
        gru_input=noise(3 * state, dim + 1),
        gru_state=noise(3 * state, state),
        gru_input_bias=noise(3 * state),
        gru_state_bias=noise(3 * state),
        from_state=noise(levels, hidden, state),
        from_sum=noise(levels, hidden, dim + 1),
        bias=noise(levels, hidden),
        predict=noise(levels, dim + 1, hidden),
        centre=noise(levels, dim + 1),
        norms=noise(levels, words),
    )
    target = path.with_suffix(data.SUFFIX)
    data.write(target, WeightsFile(path).model_id, tables, prior, {}, overwrite=True)
    return path
