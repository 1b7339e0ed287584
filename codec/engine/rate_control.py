"""Constant quality: each chunk gets as few codebooks as sound nearly like all of them.

The distance of k codebooks is measured between the audio that they decode to and the audio that
all codebooks decode to, not the original. So no bits are spent on what the network cannot do at
all, and as the distance falls to zero, every target can be reached. The table compares measures on
2 s chunks of 19 recordings (speech, music, other sounds), for all numbers of codebooks together, by
Spearman's rank correlation with PESQ-WB on speech and with the log-mel distance from the original
on all. The first one orders quality best:

    measure of k codebooks                        PESQ-WB    log-mel distance
    log-mel distance from all codebooks            -0.925      0.798
    energy of the latents that k leave over        -0.918      0.645
    that energy, relative to the latents'          -0.890      0.583
    k itself                                        0.913     -0.672

With an average of 2 codebooks, the log-mel distance from the original has a standard deviation of
0.072 over the chunks; if every chunk has 2, it is 0.107. With 4, they are 0.058 and 0.078; with 12
they are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from codec.engine.backend import Backend
from codec.errors import BitrateError
from codec.mel import MelSpec, log_mel
from codec.support.types import Codes

Floats = npt.NDArray[np.float32]

BEST_QUALITY = 10.0

# Nepers of magnitude for each step of quality. Quality 0 is about that of one codebook, on average;
# 10 takes all codebooks.
DISTANCE_STEP = 0.06

# `log_mel` is log10(power) / 4 and an offset.
_NEPERS = 4 * math.log(10) / 2
# Distances are summed as integers, so that the choice is the same in any order, on any machine.
_STEPS = 1 << 20


class RateControl:
    """Chooses how many codebooks a chunk keeps. Threads may share it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._spec = MelSpec(backend.config.sample_rate, n_fft=960, hop_length=240)

    def chooser(self, quality: float) -> Callable[[Codes], int]:
        """Return a function from codes uint16 [streams, codebooks, frames] to the fewest codebooks
        whose distance is at most that of `quality`, 0 to 10. Raises BitrateError."""
        if not 0 <= quality <= BEST_QUALITY:
            raise BitrateError(f"a quality is 0 to {BEST_QUALITY:g}, not {quality:g}")
        target = DISTANCE_STEP * (BEST_QUALITY - quality)
        return lambda codes: self._fewest(codes, target)

    def distance(self, codes: Codes, n_codebooks: int) -> float:
        """Return the mean difference of ln magnitude between two mel spectra: of the audio that the
        first `n_codebooks` decode to, and of the audio that all decode to."""
        return self._distance(codes, n_codebooks, self._mel(codes))

    def _fewest(self, codes: Codes, target: float) -> int:
        every = int(codes.shape[1])
        whole = self._mel(codes) if target else np.zeros(0, np.float32)
        if not whole.size:
            return every
        low, high = 0, every  # `high` codebooks are near enough, `low` are not
        while high - low > 1:
            middle = (low + high) // 2
            if self._distance(codes, middle, whole) <= target:
                high = middle
            else:
                low = middle
        return high

    def _distance(self, codes: Codes, n_codebooks: int, whole: Floats) -> float:
        steps = np.rint(np.abs(self._mel(codes[:, :n_codebooks]) - whole) * np.float32(_STEPS))
        return float(_NEPERS) * int(steps.astype(np.int64).sum()) / float(whole.size * _STEPS)

    def _mel(self, codes: Codes) -> Floats:
        audio = [self._backend.decode(np.ascontiguousarray(stream)) for stream in codes]
        return log_mel(np.concatenate([np.atleast_2d(each) for each in audio]), self._spec)
