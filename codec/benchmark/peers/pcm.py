"""Keep the original as 16-bit samples: the values that no-reference measures give it."""

from __future__ import annotations

import numpy as np

from codec.audio import as_int16
from codec.benchmark.peers.base import Encoded
from codec.quality.pair import Audio


class Pcm:
    """The original. It has one setting; plots show it as a line."""

    name = "pcm"
    title = "16-bit PCM"
    kinds: frozenset[str] | None = None
    settings = ("16",)
    sample_rate = 24_000

    def encode(self, audio: Audio, setting: str) -> Encoded:
        data = as_int16(audio).astype("<i2").tobytes()
        return Encoded(data, 8 * len(data))

    def decode(self, data: bytes, setting: str) -> Audio:
        return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32_768)
