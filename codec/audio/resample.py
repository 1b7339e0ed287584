"""Converts blocks of audio between sample rates, by soxr."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from codec.audio.arrays import Audio, fit, in_blocks


def resampled_length(n_samples: int, from_rate: int, to_rate: int) -> int:
    """Return ceil(n_samples * to_rate / from_rate), which covers the whole duration."""
    return -(-n_samples * to_rate // from_rate)


def resample_blocks(
    blocks: Iterable[Audio],
    from_rate: int,
    to_rate: int,
    n_samples: int | Callable[[], int] | None = None,
) -> Iterator[Audio]:
    """Resample blocks [channels, samples] of any length, by soxr at its quality HQ.

    Gives `n_samples` in all, by default `resampled_length` of the input; as a function it is
    asked after the last block, and must not be less than what was given by then. How the audio was
    cut into blocks changes no bit: soxr filters sample by sample, each channel by itself. It
    rounds the length itself, and takes what follows the end for silence; zeros appended here let
    it run on as far as we need and change nothing before.
    """
    taken = given = channels = 0
    stream = None
    if from_rate != to_rate:
        import soxr
    for block in itertools.chain.from_iterable(map(in_blocks, blocks)):
        channels, taken = len(block), taken + block.shape[1]
        if from_rate != to_rate:
            stream = stream or soxr.ResampleStream(from_rate, to_rate, channels, quality="HQ")
            block = _chunk(stream, block)
        if isinstance(n_samples, int):
            block = block[:, : n_samples - given]
        given += block.shape[1]
        if block.shape[1]:
            yield block
    if not channels:
        return
    if callable(n_samples):
        n_samples = n_samples()
    if n_samples is None:
        n_samples = resampled_length(taken, from_rate, to_rate)
    rest = np.zeros((channels, 0), np.float32)
    if stream:
        tail = np.zeros((channels, -(-from_rate // to_rate) + 1), np.float32)
        rest = _chunk(stream, tail, last=True)
    if n_samples > given:
        yield fit(rest, n_samples - given)


def _chunk(stream: Any, block: Audio, last: bool = False) -> Audio:
    # soxr takes [samples], or [samples, channels]
    interleaved = np.ascontiguousarray(block.T)
    if len(block) == 1:
        interleaved = interleaved[:, 0]
    resampled: Audio = stream.resample_chunk(interleaved, last=last)
    return np.atleast_2d(resampled.T)


def resample(audio: Audio, from_rate: int, to_rate: int, n_samples: int | None = None) -> Audio:
    """Resample one channel [samples], as `resample_blocks` does one block."""
    blocks = resample_blocks([audio[None]], from_rate, to_rate, n_samples)
    joined: Audio = np.concatenate([audio[None, :0], *blocks], axis=1)[0]
    return joined
