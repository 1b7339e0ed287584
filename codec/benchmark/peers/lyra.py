"""Run Lyra v2 (google/lyra) by its published TensorFlow Lite models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from codec.benchmark.peers.base import Encoded
from codec.errors import PeerError
from codec.quality.pair import Audio

FRAME = 320
FRAMES_PER_SECOND = 50
BITS_PER_QUANTISER = 4
MAX_QUANTISERS = 46
MODELS = ("soundstream_encoder.tflite", "quantizer.tflite", "lyragan.tflite")


class Lyra:
    """Lyra v2. Settings are kbit/s, which give the number of 4-bit quantisers at 50 Hz.

    Only the neural path runs: no comfort noise, no discontinuous transmission. The models keep a
    state that cannot be reset, so every clip has its own interpreters.
    """

    name = "lyra"
    title = "Lyra v2"
    kinds: frozenset[str] | None = frozenset({"speech"})
    settings = ("3.2", "6", "9.2")
    sample_rate = 16_000

    def __init__(self, folder: Path | None) -> None:
        if folder is None:
            raise PeerError("needs the folder of its models: --lyra DIR")
        missing = [name for name in MODELS if not (folder / name).is_file()]
        if missing:
            raise PeerError(f"no {missing[0]} in {folder}")
        try:
            import ai_edge_litert.interpreter  # noqa: F401
        except ImportError:
            raise PeerError("ai-edge-litert is not installed: pip install ai-edge-litert") from None
        self._folder = folder

    def encode(self, audio: Audio, setting: str) -> Encoded:
        count = _quantisers(setting)
        encoder = self._runner(MODELS[0])
        quantiser = self._runner(MODELS[1], "encode")
        padded = np.pad(audio, (0, -len(audio) % FRAME))
        codes = []
        for frame in padded.reshape(-1, 1, FRAME):
            features = encoder(input_audio=frame)["output_0"]
            found = quantiser(input_frames=features, num_quantizers=np.int32(count))
            indices = next(value for value in found.values() if np.size(value) == MAX_QUANTISERS)
            codes.append(np.ravel(indices)[:count].astype(np.uint8))
        data = np.stack(codes).tobytes()
        bits = BITS_PER_QUANTISER * len(data)
        return Encoded(_nibbles(data), bits)

    def decode(self, data: bytes, setting: str) -> Audio:
        count = _quantisers(setting)
        quantiser = self._runner(MODELS[1], "decode")
        generator = self._runner(MODELS[2])
        pairs = np.frombuffer(data, np.uint8)
        codes = np.stack([pairs >> 4, pairs & 15], axis=1).reshape(-1)
        frames = codes[: len(codes) // count * count].reshape(-1, count)
        indices = np.full((MAX_QUANTISERS, 1, 1), -1, np.int32)
        out = []
        for frame in frames:
            indices[:count, 0, 0] = frame
            features = quantiser(encoding_indices=indices)["output_0"]
            out.append(np.ravel(generator(input_audio=features)["output_0"]))
        return np.concatenate(out).astype(np.float32)

    def _runner(self, model: str, signature: str | None = None) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(self._folder / model), num_threads=1)
        return interpreter.get_signature_runner(signature)


def _quantisers(setting: str) -> int:
    try:
        count = round(float(setting) * 1000 / (BITS_PER_QUANTISER * FRAMES_PER_SECOND))
    except ValueError:
        count = 0
    if not 1 <= count <= MAX_QUANTISERS:
        raise PeerError(f"lyra: {setting!r} is not a number of kbit/s up to 9.2")
    return count


def _nibbles(codes: bytes) -> bytes:
    """Pack two codes of 4 bits into each byte."""
    values = np.frombuffer(codes, np.uint8)
    pairs = np.pad(values, (0, len(values) % 2)).reshape(-1, 2)
    return bytes((pairs[:, 0] << 4 | pairs[:, 1]).astype(np.uint8))
