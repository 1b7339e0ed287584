"""Run Codec 2 by its own tools."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from codec.audio import as_int16
from codec.benchmark.peers.base import Encoded, needs, run
from codec.errors import PeerError
from codec.quality.pair import Audio

# mode -> samples and bits of a frame (codec2.h and README of Codec 2)
FRAMES = {
    "3200": (160, 64),
    "2400": (160, 48),
    "1600": (320, 64),
    "1400": (320, 56),
    "1300": (320, 52),
    "1200": (320, 48),
    "700C": (320, 28),
}


class Codec2:
    """Codec 2 at 8 kHz, speech only. Settings are its modes, named by their bit/s."""

    name = "codec2"
    title = "Codec 2"
    kinds: frozenset[str] | None = frozenset({"speech"})
    settings = ("700C", "1200", "3200")
    sample_rate = 8_000

    def __init__(self) -> None:
        self._encoder, self._decoder = (needs(tool, "codec2") for tool in ("c2enc", "c2dec"))

    def encode(self, audio: Audio, setting: str) -> Encoded:
        if setting not in FRAMES:
            raise PeerError(f"codec2 has no mode {setting}; it has {', '.join(FRAMES)}")
        size, bits = FRAMES[setting]
        # It codes whole frames, and needs one more for the delay of its look-ahead.
        padded = np.pad(audio, (0, -len(audio) % size + size))
        data = self._through(self._encoder, setting, as_int16(padded).tobytes())
        return Encoded(data, bits * -(-len(audio) // size))

    def decode(self, data: bytes, setting: str) -> Audio:
        samples = np.frombuffer(self._through(self._decoder, setting, data), np.int16)
        return samples.astype(np.float32) / np.float32(32_768)

    def _through(self, tool: str, setting: str, data: bytes) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            # Neither name ends in .c2, which would add a header.
            source, target = Path(folder, "in.raw"), Path(folder, "out.raw")
            source.write_bytes(data)
            run([tool, setting, source, target])
            return target.read_bytes()
