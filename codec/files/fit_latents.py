"""Fits the scale of a model's latents: their mean and deviation over a corpus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from codec.audio.reader import AudioReader
from codec.audio.resample import resample_blocks
from codec.engine.backend import StreamingBackend
from codec.engine.latents import encode_latent_spans
from codec.engine.pairs import paired
from codec.errors import AudioError
from codec.model.latent_scale import LatentScale
from codec.support.workers import Workers

# Called with the file and the seconds of it that are done.
Report = Callable[[Path, float], None]


def fit_latent_scale(
    backend: StreamingBackend, sources: Sequence[Path], workers: Workers, report: Report
) -> LatentScale:
    """Return the mean and the deviation of each dimension over all frames of `sources`.

    Every channel counts as audio of its own. Raises AudioError on a file that cannot be read, on
    no audio, and if a dimension never changes.
    """
    dim = backend.config.latent_dim
    total, squares, frames = np.zeros(dim), np.zeros(dim), 0
    for source in sources:
        with AudioReader(source) as audio:
            blocks = resample_blocks(audio, audio.sample_rate, backend.config.sample_rate)
            pairs = paired(blocks, backend.config.channels)
            for latents in encode_latent_spans(backend, pairs, workers):
                values = latents.astype(np.float64)
                total += values.sum(axis=(0, 2))
                squares += (values**2).sum(axis=(0, 2))
                frames += values.shape[0] * values.shape[2]
                report(source, audio.n_samples / audio.sample_rate)
    if not frames:
        raise AudioError("no audio to fit the latents on")
    mean = total / frames
    deviation = np.sqrt(np.maximum(squares / frames - mean**2, 0.0)).astype(np.float32)
    if not (deviation > 0).all():
        raise AudioError("a dimension of the latents never changes: this is not enough audio")
    return LatentScale(mean.astype(np.float32), deviation)
