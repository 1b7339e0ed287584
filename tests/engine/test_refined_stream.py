"""Refined streams: pushed in any pieces, saved and restored, they give what the whole gives."""

from __future__ import annotations

import _thread
import dataclasses
import pickle
import struct
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.random_weights import STEREO, VARIANTS, noise, signal, uneven, write_weights
from codec.errors import AudioError, BackendError, StateError
from codec.model.receptive_field import encoder_reach
from codec.support.workers import Workers

pytest.importorskip("codec.engine._engine", reason="needs the native engine")
from codec.engine.native import NativeBackend, isas
from codec.engine.refine import MARGIN, SPAN, refined_spans
from codec.engine.stream import StreamEncoder

CONFIG = dataclasses.replace(VARIANTS["gathered"], codebook_size=1000)
HOP, LEVELS = CONFIG.hop_length, CONFIG.n_codebooks
AHEAD = MARGIN + encoder_reach(CONFIG).after  # frames behind a window that must be there
FULL = (SPAN + AHEAD) * HOP  # samples that make the first window


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", CONFIG, seed=1)


@pytest.fixture(scope="module")
def backend(path: Path) -> NativeBackend:
    return NativeBackend(path)


def whole(
    backend: NativeBackend, audio: np.ndarray, steps: int, beam: int = 1, levels: int = LEVELS
) -> np.ndarray:
    with Workers(1) as workers:
        spans = list(refined_spans(backend, [audio[None]], levels, steps, workers, beam))
    return np.concatenate(spans, axis=2)[0]


def encoded(stream: StreamEncoder, audio: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """All codes of `audio`, pushed in pieces of these sizes in turn."""
    parts: list[np.ndarray] = []
    at = 0
    while at < audio.shape[-1]:
        parts.append(stream.push(audio[..., at : at + sizes[len(parts) % len(sizes)]]))
        at += sizes[(len(parts) - 1) % len(sizes)]
    return np.concatenate([*parts, stream.flush()], axis=1)


@settings(max_examples=8, deadline=None)
@given(
    samples=st.integers(1, FULL + 2 * SPAN * HOP),
    sizes=st.lists(st.integers(1, FULL), min_size=1, max_size=4),
    steps=st.integers(1, 2),
    beam=st.integers(1, 3),
    levels=st.integers(1, LEVELS),
)
def test_chunks_give_the_codes_of_the_whole(
    backend: NativeBackend, samples: int, sizes: list[int], steps: int, beam: int, levels: int
) -> None:
    audio = noise(samples, seed=samples)
    sizes = [max(size, samples // 50) for size in sizes]
    expected = whole(backend, audio, steps, beam, levels)
    stream = StreamEncoder(backend, levels, beam, steps)
    np.testing.assert_array_equal(encoded(stream, audio, sizes), expected)


MODELS = VARIANTS | {"two channels": STEREO}


@pytest.mark.parametrize("name", MODELS)
def test_any_model(tmp_path: Path, name: str) -> None:
    config = dataclasses.replace(MODELS[name], codebook_size=1000)
    backend = NativeBackend(write_weights(tmp_path / "w.safetensors", config, seed=1))
    frames = 2 * SPAN + MARGIN + encoder_reach(config).after + 3
    audio = signal(config, frames * config.hop_length - 5)
    stream = StreamEncoder(backend, 2, refine=1)
    expected = whole(backend, audio, 1, 1, 2)
    np.testing.assert_array_equal(encoded(stream, audio, (50_000, 777)), expected)


def test_steps_find_other_codes(backend: NativeBackend) -> None:
    audio = noise(20 * HOP)
    plain = backend.encode(audio, LEVELS)
    assert (encoded(StreamEncoder(backend, refine=20), audio, [999]) != plain).any()
    np.testing.assert_array_equal(encoded(StreamEncoder(backend, refine=0), audio, [999]), plain)


def test_codes_come_as_soon_as_the_latency_says(backend: NativeBackend) -> None:
    audio, stream = noise(FULL + SPAN * HOP), StreamEncoder(backend, refine=1)
    assert stream.latency == FULL == (SPAN + AHEAD) * HOP
    assert stream.push(audio[: FULL - 1]).shape == (LEVELS, 0)
    assert stream.push(audio[:0]).shape == (LEVELS, 0)
    assert stream.push(audio[FULL - 1 : FULL]).shape == (LEVELS, SPAN)
    assert stream.push(audio[FULL:-1]).shape == (LEVELS, 0)
    assert stream.push(audio[-1:]).shape == (LEVELS, SPAN)
    assert stream.flush().shape == (LEVELS, AHEAD)


def test_no_audio_has_no_codes(backend: NativeBackend) -> None:
    stream = StreamEncoder(backend, refine=1)
    assert stream.flush().shape == (LEVELS, 0)
    with pytest.raises(StateError, match="ended"):
        stream.flush()


@settings(max_examples=6, deadline=None)
@given(cut=st.integers(0, FULL + SPAN * HOP + 100), isa=st.sampled_from(isas()))
def test_a_restored_stream_goes_on(backend: NativeBackend, path: Path, cut: int, isa: str) -> None:
    """Also in another engine, with another instruction set."""
    audio = noise(FULL + SPAN * HOP + 100)
    stream = StreamEncoder(backend, refine=1)
    other = StreamEncoder(NativeBackend(path, isa), refine=1)
    other.push(audio[:7000])
    first = stream.push(audio[:cut])
    again = StreamEncoder(backend, refine=1)
    for at in range(0, cut, 30_000):
        again.push(audio[at : min(at + 30_000, cut)])
    assert again.save() == stream.save()
    other.restore(stream.save())
    rest = np.concatenate([other.push(audio[cut:]), other.flush()], axis=1)
    found = np.concatenate([first, rest], axis=1)
    np.testing.assert_array_equal(found, whole(backend, audio, 1))
    stream.restore(other.save())
    with pytest.raises(StateError, match="ended"):
        stream.push(audio)


def test_a_copy_keeps_its_steps_and_paths(backend: NativeBackend) -> None:
    audio = noise(9000)
    stream = StreamEncoder(backend, 2, beam=3, refine=9)
    stream.push(audio[:5000])
    copy = pickle.loads(pickle.dumps(stream))
    found = np.concatenate([copy.push(audio[5000:]), copy.flush()], axis=1)
    np.testing.assert_array_equal(found, whole(backend, audio, 9, 3, 2))
    assert copy.latency == stream.latency


def test_a_reset_stream_remembers_nothing(backend: NativeBackend) -> None:
    audio, stream = noise(FULL + 9), StreamEncoder(backend, refine=1)
    fresh, short = stream.save(), audio[: 3 * HOP + 1]
    stream.push(audio)
    stream.reset()
    assert stream.save() == fresh
    np.testing.assert_array_equal(encoded(stream, short, [500]), whole(backend, short, 1))


def test_states_of_other_streams_are_refused(backend: NativeBackend) -> None:
    refined, plain = StreamEncoder(backend, refine=1), StreamEncoder(backend)
    for stream, other in ((refined, plain), (plain, refined)):
        with pytest.raises(StateError, match="not a saved state of this kind"):
            stream.restore(other.save())
    with pytest.raises(StateError, match="number of codebooks"):
        refined.restore(StreamEncoder(backend, 1, refine=1).save())


def test_a_forged_state_is_safe(backend: NativeBackend) -> None:
    """Numbers that address memory are those of a stream, and samples are finite; or it is
    refused."""
    stream = StreamEncoder(backend, refine=1)
    stream.push(noise(FULL + 5))
    good = stream.save()
    extremes = [-1, 1, 2, 99, 200, 300, 10**5, 2**31, 2**62, 2**63 - 1, -(2**63)]
    cases = [(18 + 8 * field, "<q", value) for field in range(3) for value in extremes]
    cases += [(18 + 24 + 4 * i, "<f", value) for i in (0, 99) for value in (np.nan, np.inf)]
    for at, kind, value in cases:
        forged = bytearray(good)
        struct.pack_into(kind, forged, at, value)
        struct.pack_into("<I", forged, 14, zlib.crc32(forged[18:]))
        try:
            stream.restore(bytes(forged))
            assert kind == "<q"
            stream.push(noise(3000))
            assert stream.flush().shape[1] <= SPAN + AHEAD
        except StateError:
            pass


def test_what_fails_changes_nothing(backend: NativeBackend) -> None:
    audio, stream = noise(FULL + 100), StreamEncoder(backend, refine=1)
    first = stream.push(audio[:9000])
    before = stream.save()
    with pytest.raises(AudioError):
        stream.push(np.append(audio[9000:], np.float32(np.nan)))
    with pytest.raises(AudioError):
        stream.push(audio[9000:].reshape(2, -1))
    assert stream.save() == before
    found = np.concatenate([first, stream.push(audio[9000:]), stream.flush()], axis=1)
    np.testing.assert_array_equal(found, whole(backend, audio, 1))


@pytest.mark.parametrize("flush", [False, True])
def test_an_interrupt_between_steps_leaves_the_stream_as_it_was(
    backend: NativeBackend, flush: bool
) -> None:
    audio, stream = noise(FULL), StreamEncoder(backend, refine=1000, beam=64)
    stream.push(audio[:9000])
    before, ready = stream.save(), threading.Event()

    def interrupt() -> None:
        ready.wait()
        _thread.interrupt_main()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        _under_way(stream, None if flush else audio[9000:], ready, thread)
    assert stream.save() == before
    assert stream.push(audio[:0]).shape == (LEVELS, 0)


def _under_way(
    stream: StreamEncoder,
    audio: np.ndarray | None,
    ready: threading.Event,
    thread: threading.Thread,
) -> None:
    ready.set()
    _ = stream.flush() if audio is None else stream.push(audio)
    thread.join()


def test_a_model_that_cannot_be_refined_says_so(tmp_path: Path) -> None:
    backend = NativeBackend(write_weights(tmp_path / "w.safetensors", uneven(CONFIG)))
    with pytest.raises(BackendError, match="refined with a hop of 300 samples"):
        StreamEncoder(backend, refine=1)
