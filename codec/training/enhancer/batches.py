"""Draw what an enhancer learns from: decoded audio, and the audio that it was before."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from codec.engine.backend import Backend
from codec.engine.periods import around
from codec.errors import DataError, TrainingError
from codec.support.workers import Workers
from codec.training import distributed
from codec.training.crops import ATTEMPTS, SILENCE_RMS, file_weights
from codec.training.decoding import FULL_SCALE
from codec.training.draws import step_generator
from codec.training.enhancer.config import EnhancerTraining
from codec.training.enhancer.stretches import Stretch
from codec.training.prepare import PreparedAudio

Floats = npt.NDArray[np.float32]

QUIETEST_PEAK = 0.05  # what a lower peak counts as, where gains are limited


class Batch(NamedTuple):
    """Crops of decoded audio, with what they should be."""

    seen: Tensor  # float32 [batch, 3, whole_samples and a margin]: see codec/engine/periods.py
    known: Tensor  # float32 [batch, frames, 3]
    target: Tensor  # float32 [batch, crop_samples], of the middle
    shares: Tensor  # float32 [batch]: what phase_weight is multiplied by
    heard: Tensor  # int64 [crops]: numbers of the crops that critics hear; none: []
    critics: list[int]  # numbers of the critics that hear them

    def to(self, device: torch.device) -> Batch:
        """Give the batch on `device`."""
        return self._replace(
            seen=self.seen.to(device),
            known=self.known.to(device),
            target=self.target.to(device),
            shares=self.shares.to(device),
            heard=self.heard.to(device),
        )


def heard_and_weights(
    prepared: PreparedAudio, config: EnhancerTraining
) -> tuple[list[bool], npt.NDArray[np.float64]]:
    """Tell of each file whether critics hear it, and its weight, float64 [files].

    Raises TrainingError if they would hear none, DataError as `file_weights` does or if all weights
    are 0.
    """
    heard = [fnmatch.fnmatchcase(file.path, config.critic_files) for file in prepared.files]
    if not any(heard):
        raise TrainingError(
            f"critic_files {config.critic_files!r} matches no file: set it to a glob of the "
            "files that are speech"
        )
    weights = file_weights(prepared.files, config.data_weights, full_band_weight=1.0)
    if not weights.any():
        raise DataError("every file has weight 0")
    return heard, weights


class Batches:
    """Draws batches: what a step learns from is a function of (seed, step).

    Crops lie in one stretch each, and are decoded by `backend` with audio around them, so that
    their middle is what it would be in the whole stretch. A stretch is drawn in proportion to its
    duration times its file's weight (`file_weights`), a crop's place in it evenly, and what is
    under -60 dB RMS again. A stretch shorter than a crop lies at a random place in zeros. Of
    several processes each draws its part of the crops (`codec.training.distributed`), and its share
    of `critic_crops`.
    Raises what `heard_and_weights` raises.
    """

    def __init__(
        self,
        prepared: PreparedAudio,
        stretches: Sequence[Stretch],
        backend: Backend,
        config: EnhancerTraining,
        workers: Workers | None = None,
    ) -> None:
        self.config, self._backend = config, backend
        self._workers = workers or Workers()
        heard, weights = heard_and_weights(prepared, config)
        self._audio, self._stretches = prepared.audio(), stretches
        self._heard = np.array([heard[stretch.file] for stretch in stretches])
        mass = np.array([weights[stretch.file] * stretch.samples for stretch in stretches])
        self._cumulative = np.cumsum(mass / mass.sum())
        self._rows = slice(distributed.rank(), None, distributed.world_size())
        self._most_heard = max(1, config.critic_crops // distributed.world_size())
        levels = backend.config.n_codebooks
        self._depths = np.array([config.n_codebooks(levels, depth) for depth in config.depths])

    def draw(self, step: int) -> Batch:
        """Draw the batch of `step`, 0 or more."""
        config = self.config
        random = step_generator(config.seed, step)
        size = config.batch_size
        drawn, places = random.random((2, size, ATTEMPTS))[:, self._rows]
        # Rounding may leave the last sum a little under 1. side="right" steps over files of
        # weight 0, whose interval is empty.
        chosen = np.searchsorted(self._cumulative, drawn * self._cumulative[-1], side="right")
        depths = random.choice(self._depths, size)[self._rows]
        low, high = config.level_db
        gains = 10 ** (random.uniform(low, high, (size, 1))[self._rows] / 20)
        signs = random.choice(np.array([-1.0, 1.0]), (size, 1))[self._rows]
        order = random.permutation(len(config.critic_kinds))[: config.critics_drawn]
        rows: list[Callable[[], tuple[int, Floats, Floats]]] = [
            partial(self._crop, *row) for row in zip(chosen, places, depths.tolist(), strict=True)
        ]
        crops = self._workers.all(rows)
        numbers = [number for number, _, _ in crops]
        target = np.stack([target for _, target, _ in crops])
        decoded = np.stack([decoded for _, _, decoded in crops])
        peaks = np.abs(target).max(1, keepdims=True)
        gains = np.minimum(gains, 1 / np.maximum(peaks, QUIETEST_PEAK)) * signs
        gains = gains.astype(np.float32)
        middle = slice(config.context_samples, config.context_samples + config.crop_samples)
        speech = self._heard[numbers]
        heard = torch.from_numpy(np.flatnonzero(speech)[: self._most_heard])
        # A few codebooks cannot carry the waveform: asked for it, they lose the spectrum too.
        used = np.array(
            [
                len(stretch.codes) if stretch.refined else depth
                for stretch, depth in zip(
                    [self._stretches[number] for number in numbers], depths, strict=True
                )
            ]
        )
        shares = (used / self._backend.config.n_codebooks) ** config.phase_power
        seen, known = around(decoded * gains, config.model)
        return Batch(
            torch.from_numpy(seen),
            torch.from_numpy(known),
            torch.from_numpy(target[:, middle] * gains),
            torch.from_numpy(shares * np.where(speech, 1.0, config.unheard_phase)).float(),
            heard,
            sorted(int(number) for number in order),
        )

    def _crop(
        self, numbers: npt.NDArray[np.int64], places: npt.NDArray[np.float64], depth: int
    ) -> tuple[int, Floats, Floats]:
        """Choose from stretches and places in them, each 0 to 1; the chosen stretch's number, the
        audio, and what it is after coding, each float32 [whole_samples]."""
        length = self.config.whole_samples
        for number, share in zip(numbers.tolist(), places.tolist(), strict=True):
            stretch = self._stretches[number]
            spare = stretch.samples - length
            place = int(share * (abs(spare) + 1)) + min(spare, 0)
            first, last = max(place, 0), min(place + length, stretch.samples)
            audio = np.zeros(length, np.float32)
            own = self._audio[stretch.begin + first : stretch.begin + last]
            audio[first - place : last - place] = own.astype(np.float32) / FULL_SCALE
            if np.square(audio).mean() >= SILENCE_RMS**2:
                break
        return number, audio, stretch.decode(self._backend, depth, place, length)
