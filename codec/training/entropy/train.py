"""`codec train-prior`: codes of a corpus in, the data of a model's entropy coders out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from codec.coders import data as entropy_data
from codec.engine.native import NativeBackend
from codec.model.weights_file import WeightsFile
from codec.training.entropy.batches import mixed
from codec.training.entropy.corpus import open_corpus
from codec.training.entropy.prior import train_prior
from codec.training.entropy.tables import train_tables
from codec.training.learner import bfloat16_pays
from codec.training.prepare import PreparedAudio

TABLES_SHARE = 0.2  # of the time
RANK = 16
STATE = 192
HIDDEN = 128


def train_entropy(
    prepared: PreparedAudio,
    weights: Path,
    output: Path,
    cache: Path,
    *,
    minutes: float,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[str, float, float], None] | None = None,
    say: Callable[[str], None],
) -> int:
    """Learns tables and prior for the model at `weights` and writes them; the size in bytes.

    The corpus is encoded first, once for each model (codec.entropy_corpus), on top of `minutes`.
    Raises ModelError, DataError, OutputError.
    """
    backend = NativeBackend(weights)
    corpus = open_corpus(prepared, backend, cache, progress)
    config = backend.config
    seconds = 60 * minutes
    say(f"{corpus.hours:.2f} hours to learn from, {len(corpus.held_out)} files held out")
    tables = train_tables(
        np.concatenate(corpus.train, axis=1),
        np.concatenate(mixed(corpus.held_out), axis=1),
        config.codebook_size,
        rank=RANK,
        seconds=seconds * TABLES_SHARE,
        seed=seed,
        say=say,
    )
    prior = train_prior(
        corpus.train,
        corpus.held_out,
        WeightsFile(weights).codebooks,
        tables,
        state=STATE,
        hidden=HIDDEN,
        seconds=seconds * (1 - TABLES_SHARE),
        seed=seed,
        bfloat16=bfloat16_pays(torch.device("cpu")),
        say=say,
    )
    notes = {"hours": round(corpus.hours, 2), "minutes": minutes, "seed": seed}
    return entropy_data.write(output, backend.model_id, tables, prior, notes, overwrite=overwrite)
