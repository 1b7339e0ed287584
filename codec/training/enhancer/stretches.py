"""Code the training audio once, in stretches, so that crops need only be decoded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codec.engine.backend import Backend, refinement
from codec.errors import TrainingError
from codec.model.config import ModelConfig
from codec.model.receptive_field import decoder_reach, encoder_reach
from codec.support.types import Codes
from codec.support.workers import Workers
from codec.training import distributed
from codec.training.decoding import FULL_SCALE
from codec.training.draws import step_generator
from codec.training.enhancer.config import EnhancerTraining
from codec.training.prepare import PreparedAudio

Floats = npt.NDArray[np.float32]

SECONDS = 10  # of a stretch, at most
CROPS = 4  # or so many times the length of a crop, if that is more


class Stretch(NamedTuple):
    """A part of a file, and its codes."""

    file: int  # its number in the index
    begin: int  # its first sample in the memory map
    samples: int
    codes: Codes  # uint16 [codebooks, frames]
    refined: bool  # whether its codes are decoded from all of these codebooks or not at all

    def decode(self, backend: Backend, depth: int, place: int, samples: int) -> Floats:
        """Decode `samples` from `place` on, with zeros outside of the stretch; float32 [samples].

        depth: the number of codebooks; refined codes are decoded from all that they have.
        """
        hop, reach = backend.config.hop_length, decoder_reach(backend.config)
        first, last = max(place, 0), min(place + samples, self.samples)
        begin = max(first // hop - reach.before, 0)
        end = -(-last // hop) + reach.after
        codes = self.codes[: None if self.refined else depth, begin:end]
        decoded = backend.decode(np.ascontiguousarray(codes))
        audio = np.zeros(samples, np.float32)
        audio[first - place : last - place] = decoded[first - begin * hop : last - begin * hop]
        return audio


class Work(NamedTuple):
    """A stretch that is to be coded. Lengths are in samples."""

    file: int
    begin: int  # in the memory map
    samples: int
    before: int  # of the file, that its codes depend on
    after: int
    levels: int
    steps: int  # of refinement

    def coded(self, audio: npt.NDArray[np.int16], backend: Backend, paths: int) -> Stretch:
        """Code it; audio: the memory map."""
        piece = audio[self.begin - self.before : self.begin + self.samples + self.after]
        floats: Floats = piece.astype(np.float32) / np.float32(FULL_SCALE)
        hop = backend.config.hop_length
        first, last = self.before // hop, -(-(self.before + self.samples) // hop)
        if self.steps:
            codes = refinement(backend).encode_refined(
                floats, self.levels, self.steps, first, last, paths
            )
        else:
            codes = np.ascontiguousarray(backend.encode(floats, self.levels)[:, first:last])
        return Stretch(self.file, self.begin, self.samples, codes, bool(self.steps))


def planned(prepared: PreparedAudio, model: ModelConfig, config: EnhancerTraining) -> list[Work]:
    """Cut each file into stretches of nearly the same length; draw how each is coded."""
    hop, reach = model.hop_length, encoder_reach(model)
    longest = max(SECONDS * prepared.sample_rate, CROPS * config.whole_samples) // hop
    stretches: list[Work] = []
    for number, file in enumerate(prepared.files):
        frames = -(-file.samples // hop)
        parts = -(-frames // longest)
        for part in range(parts):
            begin, end = (at * frames // parts * hop for at in (part, part + 1))
            end = min(end, file.samples)
            # Training has no negative steps.
            random = step_generator(config.seed, -1 - len(stretches))
            steps = int(random.integers(1, config.refine_steps + 1))
            depth = config.n_codebooks(model.n_codebooks, float(random.choice(config.depths)))
            refined = random.random() < config.refined_share
            stretches.append(
                Work(
                    number,
                    file.offset + begin,
                    end - begin,
                    min(begin, reach.before * hop),
                    min(file.samples - end, reach.after * hop),
                    depth if refined else model.n_codebooks,
                    steps if refined else 0,
                )
            )
    return stretches


def code(
    prepared: PreparedAudio,
    backend: Backend,
    config: EnhancerTraining,
    workers: Workers | None = None,
    progress: Callable[[float], None] = lambda share: None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Stretch]:
    """Code all of `prepared`, a stretch at a time; a function of the audio and the seed.

    A share of `refined_share` is refined (`Refinement.encode_refined`), each stretch with one of
    `depths` and with 1 to `refine_steps` steps. Of several processes each codes its part, and all
    get all of it. progress: called with the share that is done.

    Raises BackendError if codes of the model cannot be refined, and TrainingError once `stopped()`
    is true.
    """
    workers, audio = workers or Workers(), prepared.audio()
    work = planned(prepared, backend.config, config)
    mine = work[distributed.rank() :: distributed.world_size()]
    found: list[Stretch] = []
    for stretch in workers.run(
        partial(one.coded, audio, backend, config.refine_paths) for one in mine
    ):
        if stopped():
            break
        found.append(stretch)
        progress(len(found) / len(mine))
    if distributed.any_of(stopped()):
        raise TrainingError("stopped before the first step: nothing was written")
    return distributed.joined_lists(found)
