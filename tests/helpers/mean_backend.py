"""A backend small enough to reason about, and audio that it can code."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from codec.model.config import ModelConfig
from codec.support.types import Codes
from tests.helpers.signals import Samples


class MeanBackend:
    """Codes each hop by its mean, refined by each further codebook: a real, nested quantiser.

    Codebook k halves the range of the error `REFINEMENT` times over that of codebook k - 1, so
    a signal that is constant over hops comes back with an error of at most 2 * 1.01 / 1024
    with one codebook, and of float32 rounding with three.
    """

    REFINEMENT = 512.0

    def __init__(
        self, config: ModelConfig | None = None, model_id: bytes = b"\x01mean\x00\xff\x02"
    ):
        self.config = config or ModelConfig(hop_length=480, n_codebooks=12)
        self.model_id = model_id

    def _scale(self, level: int) -> float:
        return 1.01 / self.REFINEMENT**level

    def encode(self, audio: Samples, n_codebooks: int) -> Codes:
        assert audio.dtype == np.float32
        assert audio.ndim == 1
        hop, top = self.config.hop_length, self.config.codebook_size - 1
        frames = self.config.n_frames(len(audio))
        # The last hop is continued by its last sample, so that a constant keeps its mean.
        padded = np.pad(audio, (0, frames * hop - len(audio)), mode="edge")
        rest = padded.reshape(frames, hop).mean(axis=1, dtype=np.float64)
        codes = np.empty((n_codebooks, frames), np.uint16)
        for level, code in enumerate(codes):
            scale = self._scale(level)
            code[:] = np.clip(np.rint((rest / scale + 1) / 2 * top), 0, top)
            rest = rest - (code / top * 2 - 1) * scale
        return codes

    def decode(self, codes: Codes) -> Samples:
        assert codes.dtype == np.uint16
        top = self.config.codebook_size - 1
        means = sum((code / top * 2 - 1) * self._scale(level) for level, code in enumerate(codes))
        return np.repeat(means, self.config.hop_length).astype(np.float32)

    streaming = None

    def decode_pieces(self, pieces: Sequence[Codes]) -> Samples:
        return np.concatenate([self.decode(codes) for codes in pieces])


def steps(samples: int, channels: int = 1, seed: int = 0) -> Samples:
    """Draw audio that is constant over the backend's hops, float32 [channels, samples]."""
    levels = np.random.default_rng(seed).uniform(-0.9, 0.9, (channels, -(-samples // 480)))
    return np.repeat(levels, 480, axis=1)[:, :samples].astype(np.float32)


class Endless(MeanBackend):
    """Refines until it is told to stop; the events say how far it is."""

    def __init__(self) -> None:
        super().__init__()
        self.started, self.stopped = threading.Event(), threading.Event()

    def check_refinement(self) -> None:
        """It can."""

    def encode_refined(
        self,
        audio: Samples,
        n_codebooks: int,
        steps: int,
        first: int,
        last: int,
        beam: int = 1,
        stopped: Callable[[], bool] = bool,
    ) -> Codes:
        self.started.set()
        for _ in range(20_000):
            if stopped():
                self.stopped.set()
                break
            time.sleep(0.001)
        raise RuntimeError
