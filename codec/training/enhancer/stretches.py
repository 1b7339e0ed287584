"""Code the training audio once, in stretches, so that crops need only be decoded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codec.engine.backend import Backend, refinement
from codec.errors import TrainingError
from codec.support.types import Codes
from codec.support.workers import Workers
from codec.training import distributed
from codec.training.decoding import FULL_SCALE
from codec.training.draws import step_generator
from codec.training.enhancer.config import EnhancerTraining
from codec.training.prepare import PreparedAudio

Floats = npt.NDArray[np.float32]

FRAMES = 250  # of a stretch, 10 s at 25 frames a second; the last one of a file may be shorter
AROUND = 50  # frames of the file before and after a stretch that its codes know of
BEFORE, AFTER = 8, 2  # frames that are decoded around a crop, so that it sounds as in the whole


class Stretch(NamedTuple):
    """A part of a file, and its codes."""

    file: int  # its number in the index
    begin: int  # its first sample in the memory map
    samples: int
    codes: Codes  # uint16 [codebooks, frames]
    refined: bool  # its codes go together: fewer of the codebooks would not be what is used

    def decode(self, backend: Backend, depth: int, place: int, samples: int) -> Floats:
        """Decode `samples` from `place` on, with zeros outside of the stretch.

        depth: the number of codebooks; refined codes are decoded from all that they have.
        """
        hop = backend.config.hop_length
        first, last = max(place, 0), min(place + samples, self.samples)
        begin = max(first // hop - BEFORE, 0)
        end = -(-last // hop) + AFTER
        codes = self.codes[: None if self.refined else depth, begin:end]
        decoded = backend.decode(np.ascontiguousarray(codes))
        audio = np.zeros(samples, np.float32)
        audio[first - place : last - place] = decoded[first - begin * hop : last - begin * hop]
        return audio


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
    workers = workers or Workers()
    hop, levels = backend.config.hop_length, backend.config.n_codebooks
    if config.refined_share:
        refinement(backend)
    audio = prepared.audio()
    calls: list[Callable[[], Stretch]] = []
    for number, file in enumerate(prepared.files):
        for at in range(0, file.samples, FRAMES * hop):
            # Negative steps are none of training's.
            random = step_generator(config.seed, -1 - len(calls))
            steps = int(random.integers(1, config.refine_steps + 1))
            if random.random() >= config.refined_share:
                steps = 0
            depth = config.n_codebooks(levels, float(random.choice(config.depths)))
            around = AROUND * hop
            own = audio[file.offset : file.offset + file.samples]
            piece = own[max(at - around, 0) : at + FRAMES * hop + around]
            samples = min(FRAMES * hop, file.samples - at)
            call = partial(_code, backend, config.refine_paths, steps, depth if steps else levels)
            calls.append(partial(call, piece, min(at, around), number, file.offset + at, samples))
    mine = calls[distributed.rank() :: distributed.world_size()]
    found: list[Stretch] = []
    for stretch in workers.run(mine):
        if stopped():
            break
        found.append(stretch)
        progress(len(found) / len(mine))
    if distributed.any_of(stopped()):
        raise TrainingError("stopped before the first step: nothing was written")
    return distributed.joined_lists(found)


def _code(
    backend: Backend,
    paths: int,
    steps: int,
    depth: int,
    piece: npt.NDArray[np.int16],
    skipped: int,
    file: int,
    begin: int,
    samples: int,
) -> Stretch:
    """Code `samples` of `piece` after `skipped` of it."""
    floats: Floats = piece.astype(np.float32) / np.float32(FULL_SCALE)
    hop = backend.config.hop_length
    first, last = skipped // hop, -(-(skipped + samples) // hop)
    if steps:
        codes = refinement(backend).encode_refined(floats, depth, steps, first, last, paths)
    else:
        codes = backend.encode(floats, depth)[:, first:last]
    return Stretch(file, begin, samples, codes, bool(steps))
