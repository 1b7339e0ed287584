"""The definition, pinned: what the shipped model makes of a generated signal, to the bit.

The golden file was written on one machine and holds on all: whatever the instruction set, compiler
or release. New weights need a new one: `python -m tests.test_golden`.

Of a model that codes two channels together none ships. A small one of steady random numbers pins
its tokens, its samples and the bytes of its file.
"""

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

import codec
from bench.random_weights import STEREO, Steady, write_weights
from codec.engine.enhancer import load_enhancer
from codec.engine.postfilter import postfilter_at
from codec.model.location import DEFAULT_WEIGHTS
from codec.support.workers import Workers

GOLDEN = Path(__file__).parent / "golden" / "tokens.json"
STEREO_GOLDEN = GOLDEN.with_name("stereo.json")
SECONDS = 4


def signal() -> np.ndarray:
    """Float32 [samples] at 24 kHz from integers alone, the same everywhere.

    Three gliding triangle waves and noise, each with a loudness of its own that comes and goes.
    """
    n = np.arange(SECONDS * 24_000, dtype=np.int64)
    total = np.zeros(len(n), np.int64)
    for step, glide, period in (
        (600_000, 9, 17_001),
        (1_900_000, -14, 11_003),
        (7_000_000, 40, 5_009),
    ):
        phase = (n * step + n * n * glide) % 2**32
        triangle = np.abs(phase - 2**31) - 2**30  # -2^30 … 2^30
        loudness = np.abs(n % period * 2 - period) * 256 // period  # 0 … 256
        total += (triangle >> 16) * loudness >> 8
    state = np.empty(len(n), np.int64)
    value = 12345
    for i in range(len(n)):
        value = (value * 1103515245 + 12345) % 2**31
        state[i] = value >> 15  # 0 … 65535
    total += (state - 32768) * (n * 3 % 24_000) // 24_000 >> 3
    return (total / 2**17).astype(np.float32)


def digest(array: np.ndarray, dtype: str) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, dtype).tobytes()).hexdigest()


def made_here() -> dict[str, object]:
    from codec.engine.native import NativeBackend

    backend = NativeBackend(DEFAULT_WEIGHTS)
    codes = backend.encode(signal(), backend.config.n_codebooks)
    few = backend.config.n_codebooks // 4
    audio = backend.decode(codes)
    enhancer = load_enhancer(DEFAULT_WEIGHTS, backend.model_id, 24_000)
    (enhanced,) = np.concatenate(list(enhancer.blocks([audio[None]], Workers())), axis=1)
    (filtered,) = np.concatenate(
        list(postfilter_at(24_000).blocks([audio[None]], Workers())), axis=1
    )
    return {
        "model_id": backend.model_id.hex(),
        "signal": digest(signal(), "<f4"),
        "frame_10": codes[:, 10].tolist(),
        "codes": digest(codes, "<u2"),
        "audio": digest(audio, "<f4"),
        "postfiltered": digest(filtered, "<f4"),
        "enhanced": digest(enhanced, "<f4"),
        f"audio_of_{few}_codebooks": digest(backend.decode(codes[:few]), "<f4"),
    }


def test_tokens_and_samples_are_those_of_every_machine():
    pytest.importorskip("codec.engine._engine", reason="the native engine was not built")
    assert made_here() == json.loads(GOLDEN.read_text())


def stereo_model(folder: Path) -> codec.Codec:
    return codec.load(write_weights(folder / "stereo.safetensors", STEREO, rng=Steady(1)))


def three_channels() -> np.ndarray:
    """Float32 [3, samples] at 48 kHz: a pair and a channel alone, in two chunks of a file."""
    one = np.concatenate([signal(), signal()[:20_000]])
    return np.stack([one, one[::-1] * np.float32(0.5), np.roll(one, 5000)])


def stereo_made_here(model: codec.Codec) -> dict[str, object]:
    audio = three_channels()
    file = model.compress(audio, STEREO.sample_rate, effort="raw").hex()
    tokens = model.encode(audio, STEREO.sample_rate)
    return {
        "model_id": model.model_id.hex(),
        "signal": digest(audio, "<f4"),
        "codes": digest(tokens.codes, "<u2"),
        "audio": digest(model.decode(tokens), "<f4"),
        "file": [file[i : i + 64] for i in range(0, len(file), 64)],
    }


def test_two_channels_together_are_those_of_every_machine(tmp_path: Path) -> None:
    pytest.importorskip("codec.engine._engine", reason="the native engine was not built")
    model = stereo_model(tmp_path)
    golden = json.loads(STEREO_GOLDEN.read_text())
    assert stereo_made_here(model) == golden
    file = bytes.fromhex("".join(golden["file"]))
    audio, rate = model.decompress(file)
    assert (rate, audio.shape) == (STEREO.sample_rate, three_channels().shape)
    assert digest(audio, "<f4") == golden["audio"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        found = stereo_made_here(stereo_model(Path(name)))
    STEREO_GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    GOLDEN.write_text(json.dumps(made_here(), indent=1) + "\n")
