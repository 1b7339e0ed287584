"""Draw what an enhancer learns from: decoded audio, and the audio that it was before."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from codec.engine.backend import Backend
from codec.engine.periods import around
from codec.errors import TrainingError
from codec.support.workers import Workers
from codec.training import distributed
from codec.training.augment.settings import Augmentations
from codec.training.crops import CropSampler
from codec.training.draws import step_generator
from codec.training.enhancer.config import EnhancerTraining
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


class Batches:
    """Draws batches: what a step learns from is a function of (seed, step).

    Each crop is encoded and decoded by `backend` with audio around it, so that its middle is what
    it would be in the whole file. Of several processes each draws its part of the crops
    (`codec.training.distributed`), and its share of `critic_crops`.
    Raises TrainingError if critics would hear no file, DataError as `CropSampler` does.
    """

    def __init__(
        self,
        prepared: PreparedAudio,
        backend: Backend,
        config: EnhancerTraining,
        workers: Workers | None = None,
    ) -> None:
        self.config, self._backend = config, backend
        self._workers = workers or Workers()
        heard = [fnmatch.fnmatchcase(file.path, config.critic_files) for file in prepared.files]
        if not any(heard):
            raise TrainingError(
                f"critic_files {config.critic_files!r} matches no file: set it to a glob of the "
                "files that are speech"
            )
        self._heard_files = torch.tensor(heard)
        self._sampler = CropSampler(
            prepared,
            config.whole_samples,
            config.batch_size,
            config.seed,
            config.data_weights,
            full_band_weight=1.0,
            augmentations=Augmentations(gain_db=(0.0, 0.0)),
            part=(distributed.rank(), distributed.world_size()),
        )
        self._rows = slice(distributed.rank(), None, distributed.world_size())
        self._most_heard = max(1, config.critic_crops // distributed.world_size())
        levels = backend.config.n_codebooks
        self._depths = np.array([max(1, round(levels * depth)) for depth in config.depths])

    def draw(self, step: int) -> Batch:
        """Draw the batch of `step`, 0 or more."""
        config = self.config
        crops = self._sampler.crops(step)
        audio = crops.audio.numpy()
        random = step_generator(config.seed, step)
        depths = random.choice(self._depths, config.batch_size)[self._rows]
        low, high = config.level_db
        gains = 10 ** (random.uniform(low, high, (config.batch_size, 1))[self._rows] / 20)
        order = random.permutation(len(config.critic_kinds))[: config.critics_drawn]
        rows: list[Callable[[], Floats]] = [
            partial(self._coded, row, int(depth)) for row, depth in zip(audio, depths, strict=True)
        ]
        decoded = np.stack(self._workers.all(rows))
        peaks = np.abs(audio).max(1, keepdims=True)
        gains = np.minimum(gains, 1 / np.maximum(peaks, QUIETEST_PEAK)).astype(np.float32)
        middle = slice(config.context_samples, config.context_samples + config.crop_samples)
        speech = self._heard_files[crops.files]
        heard = torch.nonzero(speech)[:, 0][: self._most_heard]
        # A few codebooks cannot carry the waveform: asked for it, they lose the spectrum too.
        shares = (depths / self._backend.config.n_codebooks) ** config.phase_power
        seen, known = around(decoded * gains, config.model)
        return Batch(
            torch.from_numpy(seen),
            torch.from_numpy(known),
            torch.from_numpy(audio[:, middle] * gains),
            torch.from_numpy(shares * np.where(speech, 1.0, config.unheard_phase)).float(),
            heard,
            sorted(int(number) for number in order),
        )

    def _coded(self, audio: Floats, n_codebooks: int) -> Floats:
        codes = self._backend.encode(audio, n_codebooks)
        return self._backend.decode(codes)[: len(audio)]
