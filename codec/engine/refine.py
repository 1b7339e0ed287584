"""Analysis by synthesis: codes whose decoded audio is closer to the original, for the same bits.

The encoder's codes are those of the nearest codewords. Here the latents are moved, by gradient
steps through the decoder, to where the audio that their codes decode to is closer to the original.

A step sees all frames of its window, so unlike `codec.engine.windows` the codes would depend on how
the audio is cut, if it were not cut always in the same way: into windows of SPAN frames from the
start of the audio. So that no code lacks its neighbours, MARGIN frames on either side are refined
too, and their codes are dropped:

    audio     |------------------------------------------------
    window 0  [    SPAN frames     |margin]
    window 1                [margin|    SPAN frames     |margin]
    window 2                                     [margin|   the rest   ]

The last window takes what is left, which is up to MARGIN frames and the encoder's reach more. All
of this depends on the length of the audio alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from codec.engine.backend import Backend, refinement
from codec.engine.windows import Audio, Window, in_windows
from codec.model.receptive_field import Reach, encoder_reach
from codec.support.types import Codes
from codec.support.workers import Workers

MAX_STEPS = 1000
SPAN = 100  # frames
MARGIN = 12  # frames; at 25 a second, most of what the decoder sees on either side


class Search(NamedTuple):
    """How codes are searched, with the fastest way as the default.

    beam: paths of a beam search. refine: gradient steps through the decoder, each of which searches
    with so many paths.
    """

    beam: int = 1
    refine: int = 0

    def described(self) -> str:
        """Name it in a table: "16 paths", "20 steps, 16 paths"."""
        paths = f"{self.beam} path{'s' * (self.beam > 1)}"
        return f"{self.refine} step{'s' * (self.refine > 1)}, {paths}" if self.refine else paths


PLAIN = Search()


def refined_spans(
    backend: Backend,
    blocks: Iterable[Audio],
    n_codebooks: int,
    steps: int,
    workers: Workers,
    beam: int = 1,
) -> Iterator[Codes]:
    """Encode to codes uint16 [channels, n_codebooks, frames], refined by `steps` steps, a window at
    a time.

    blocks, beam: as for `codec.engine.windows.encode_spans`. Raises BackendError unless the backend
    is a `Refinement`.
    """
    hop, refine = backend.config.hop_length, refinement(backend).encode_refined

    def encode(window: Window, channel: int) -> Codes:
        samples = np.concatenate([piece[channel] for piece in window.pieces], axis=-1)
        first = max(0, window.start - MARGIN)
        last = min(-(-samples.shape[-1] // hop), window.stop + MARGIN)
        codes = refine(samples, n_codebooks, steps, first, last, beam, workers.stopped)
        return codes[:, window.start - first : window.stop - first]

    before, after = encoder_reach(backend.config)
    reach = Reach(before + MARGIN, after + MARGIN)
    return in_windows(encode, blocks, hop, reach, workers, itertools.repeat(SPAN))
