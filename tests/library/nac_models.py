"""Small models of random numbers, with the data of their entropy coders, for tests of libcodec."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.random_weights import SMALL, write_weights
from codec.coders import data
from codec.coders.data import CONTEXTS
from codec.model.config import ModelConfig
from codec.model.weights_file import WeightsFile
from tests.helpers.entropy_models import noise, random_prior


def write_model(path: Path, config: ModelConfig = SMALL, seed: int = 0) -> Path:
    """Write weights to `path` and data of their coders beside it; return `path`."""
    write_weights(path, config, seed)
    random = np.random.default_rng(seed)
    levels, words, rank = config.n_codebooks, config.codebook_size, 3
    tables = data.quantise_tables(
        noise(random, levels, len(CONTEXTS), words, rank),
        noise(random, levels, words, rank),
        noise(random, levels, words),
    )
    prior = random_prior(random, levels, words, config.latent_dim)
    target = path.with_suffix(data.SUFFIX)
    data.write(target, WeightsFile(path).model_id, tables, prior, {}, overwrite=True)
    return path
