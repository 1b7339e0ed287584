"""The weights that ship, on real recordings where there are some.

The recordings are those of the folder in CODEC_EVAL, by default shared/data/eval beside the
repository; without it, these tests are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("codec.engine._engine", reason="the native engine was not built")

import codec
from codec.engine.native import NativeBackend, isas
from codec.engine.stream import StreamDecoder, StreamEncoder
from codec.model.location import DEFAULT_WEIGHTS

EVAL = Path(os.environ.get("CODEC_EVAL", Path(__file__).parents[3] / "shared/data/eval"))
CLIPS = sorted(EVAL.glob("*.flac"))
HOP = 960


@pytest.fixture(scope="module")
def engine() -> NativeBackend:
    return NativeBackend(DEFAULT_WEIGHTS)


@pytest.fixture(scope="module")
def engines() -> list[NativeBackend]:
    """One for each instruction set, whose weights are packed once."""
    return [NativeBackend(DEFAULT_WEIGHTS, isa) for isa in isas()]


@pytest.fixture(params=CLIPS or [None], ids=lambda path: path.stem if path else "none")  # type: ignore[list-item]
def clip(request: pytest.FixtureRequest) -> np.ndarray:
    if request.param is None:
        pytest.skip(f"no recordings in {EVAL}")
    audio, _ = soundfile.read(request.param, dtype="float32")
    return audio


def test_a_frame_for_every_hop_whatever_the_length(engine: NativeBackend):
    assert engine.config.hop_length == HOP
    rng = np.random.default_rng(0)
    audio = (rng.standard_normal(24_000) * 0.1).astype(np.float32)
    edges = (frames * HOP + by for frames in (1, 2, 3, 4, 5, 8, 13, 24) for by in (-1, 0, 1))
    for samples in (*range(1, 24_000, 601), *edges, 24_000):
        codes = engine.encode(audio[:samples], 1)
        assert codes.shape == (1, -(-samples // HOP))
        assert engine.decode(codes).shape == (codes.shape[1] * HOP,)


def test_every_instruction_set_and_cut_gives_the_same(
    engine: NativeBackend, engines: list[NativeBackend], clip: np.ndarray
):
    part = clip[24_000 : 24_000 + 7_217]
    codes = engine.encode(part, engine.config.n_codebooks)
    audio = engine.decode(codes)
    for other in engines:
        assert np.array_equal(other.encode(part, engine.config.n_codebooks), codes)
        assert np.array_equal(other.decode(codes), audio)
    encoder, decoder = StreamEncoder(engine), StreamDecoder(engine)
    pieces = [encoder.push(piece) for piece in np.array_split(part, 29)] + [encoder.flush()]
    assert np.array_equal(np.concatenate(pieces, axis=1), codes)
    heard = [decoder.push(piece) for piece in pieces] + [decoder.flush()]
    assert np.array_equal(np.concatenate(heard), audio)


def test_threads_change_nothing(engine: NativeBackend, clip: np.ndarray):
    model = codec.load(backend=engine)
    tokens = model.encode(clip, 24_000)
    assert np.array_equal(tokens.codes[0], engine.encode(clip, engine.config.n_codebooks))
    assert np.array_equal(model.encode(clip, 24_000, threads=2).codes, tokens.codes)
    assert np.array_equal(model.decode(tokens, threads=2), model.decode(tokens))


def test_a_prefix_of_the_audio_gives_a_prefix_of_the_tokens(
    engine: NativeBackend, clip: np.ndarray
):
    whole = engine.encode(clip, 4)
    for frames in (7, 50):
        codes = engine.encode(clip[: frames * HOP], 4)
        # the last frame's window reaches into what the prefix lacks
        assert np.array_equal(codes[:, :-1], whole[:, : frames - 1])


def test_a_slice_of_the_tokens_decodes_as_within_the_whole(engine: NativeBackend, clip: np.ndarray):
    codes = engine.encode(clip, 12)
    past = engine.decoder.context
    start, stop = past + 3, codes.shape[1] - 20
    part = engine.decode(codes[:, start - past : stop + 1])
    kept = part[past * HOP : -HOP]
    assert np.array_equal(kept, engine.decode(codes)[start * HOP : stop * HOP])


def test_torch_agrees_up_to_rounding(engine: NativeBackend):
    pytest.importorskip("torch")
    from codec.nn.backend import TorchBackend

    if not CLIPS:
        pytest.skip(f"no recordings in {EVAL}")
    other = TorchBackend(DEFAULT_WEIGHTS)
    same, total, error, power = 0, 0, 0.0, 0.0
    for path in CLIPS:
        audio, _ = soundfile.read(path, dtype="float32")
        codes = engine.encode(audio, engine.config.n_codebooks)
        found = other.encode(audio, engine.config.n_codebooks)
        same += int((codes == found).sum())
        total += codes.size
        decoded = engine.decode(codes)
        error += float(np.square(other.decode(codes) - decoded, dtype=np.float64).sum())
        power += float(np.square(decoded, dtype=np.float64).sum())
    assert same / total >= 0.995
    assert error / power < 1e-6  # -60 dB
