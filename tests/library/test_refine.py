"""libcodec's refinement: the codes of Python, for any length of audio and any size of a push."""

from __future__ import annotations

import ctypes
import dataclasses
import struct
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.random_weights import STEREO, VARIANTS, noise, signal, uneven, write_weights
from codec.audio.reader import read_audio
from codec.model.location import weights_path
from codec.model.receptive_field import encoder_reach
from codec.support.types import Codes
from codec.support.workers import Workers
from tests.helpers.c_library import binding

pytest.importorskip("codec.engine._engine", reason="needs the native engine")
from codec.engine.native import NativeBackend, isas
from codec.engine.refine import MARGIN, SPAN, refined_spans
from codec.engine.stream import StreamEncoder

CLIP = Path(__file__).parents[1] / "clips" / "speech.flac"
ARGUMENT, SIZE, UNSUPPORTED, AUDIO, STATE = 1, 2, 6, 7, 9
CODEWORDS = 1000  # so many that a step or two find others
FINE = dataclasses.replace(VARIANTS["gathered"], codebook_size=CODEWORDS)
HOP, LEVELS = FINE.hop_length, FINE.n_codebooks
AHEAD = MARGIN + encoder_reach(FINE).after  # frames behind a window that must be there
FULL = (SPAN + AHEAD) * HOP  # samples that make the first window

Made = Callable[..., Any]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> NativeBackend:
    path = tmp_path_factory.mktemp("m") / "m.safetensors"
    return NativeBackend(write_weights(path, FINE, seed=1))


@pytest.fixture(scope="module")
def encoder(libcodec: ctypes.CDLL, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Makes an encoder of the small model with so many steps and paths."""
    path = write_weights(tmp_path_factory.mktemp("c") / "m.safetensors", FINE, seed=1)
    model = binding().Model(libcodec, path)

    def made(steps: int, beam: int = 1, levels: int = LEVELS) -> Any:
        stream = binding().Encoder(model, levels)
        stream.set_refine(steps)
        stream.set_beam(beam)
        return stream

    return made


def refined(
    python: NativeBackend, audio: np.ndarray, steps: int, beam: int = 1, levels: int = LEVELS
) -> Codes:
    """The codes of Python."""
    with Workers(1) as workers:
        spans = list(refined_spans(python, [audio[None]], levels, steps, workers, beam))
    return np.concatenate(spans, axis=2)[0]


def encoded(encoder: Any, audio: np.ndarray, sizes: Sequence[int]) -> Codes:
    """All codes of `audio`, pushed in pieces of these sizes in turn; each push gives as many as the
    encoder said that it would."""
    library, at = encoder.model.library, 0
    parts: list[Codes] = []
    while at < len(audio):
        size = sizes[len(parts) % len(sizes)]
        piece = audio[at : at + size]
        ready = library.codec_encoder_ready(encoder.handle, len(piece))
        parts.append(encoder.push(piece))
        assert parts[-1].shape[1] == ready
        at += size
    left = library.codec_encoder_left(encoder.handle)
    parts.append(encoder.flush())
    assert parts[-1].shape[1] == left
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize(
    "samples",
    [1, HOP, HOP + 1, 40 * HOP - 7, SPAN * HOP, FULL - 1, FULL, FULL + 1, FULL + SPAN * HOP - 1,
     FULL + SPAN * HOP],
)  # fmt: skip
def test_codes_are_those_of_python(encoder: Made, small: NativeBackend, samples: int) -> None:
    """Of audio that is shorter than a window, fills it, or has more."""
    audio = noise(samples, seed=samples)
    expected = refined(small, audio, 2)
    changed = (expected != small.encode(audio, LEVELS)).any(axis=0)
    assert changed.mean() > 0.2 or samples < 9 * HOP, "the case is too easy"
    stream = encoder(2)
    for sizes in ((samples,), (7777, 1, HOP)):
        np.testing.assert_array_equal(encoded(stream, audio, sizes), expected, str(sizes))
        stream.reset()


def test_one_sample_at_a_time(encoder: Made, small: NativeBackend) -> None:
    audio = noise(2000)
    np.testing.assert_array_equal(encoded(encoder(3), audio, [1]), refined(small, audio, 3))


@settings(max_examples=6, deadline=None)
@given(
    samples=st.integers(1, FULL + 2 * SPAN * HOP),
    sizes=st.lists(st.integers(1, FULL), min_size=1, max_size=4),
    steps=st.integers(1, 2),
    beam=st.integers(1, 3),
    levels=st.integers(1, LEVELS),
)
def test_pushes_of_any_size(
    encoder: Made, small: NativeBackend, samples: int, sizes: list[int], steps: int, beam: int,
    levels: int,
) -> None:  # fmt: skip
    audio = noise(samples, seed=samples)
    sizes = [max(size, samples // 50) for size in sizes]
    expected = refined(small, audio, steps, beam, levels)
    np.testing.assert_array_equal(encoded(encoder(steps, beam, levels), audio, sizes), expected)


MODELS = VARIANTS | {"two channels": STEREO}


@pytest.mark.parametrize("name", MODELS)
def test_any_model_and_instruction_set(libcodec: ctypes.CDLL, tmp_path: Path, name: str) -> None:
    config = dataclasses.replace(MODELS[name], codebook_size=CODEWORDS)
    path = write_weights(tmp_path / "m.safetensors", config, seed=1)
    frames = SPAN + MARGIN + encoder_reach(config).after + 3
    audio = signal(config, frames * config.hop_length - 5)
    expected = refined(NativeBackend(path), audio, 1, 2, 2)
    for isa in isas():
        stream = binding().Encoder(binding().Model(libcodec, path, isa), 2)
        stream.set_refine(1)
        stream.set_beam(2)
        found = encoded(stream, np.ascontiguousarray(audio.T), (50_000, 777))  # pairs
        np.testing.assert_array_equal(found, expected, isa)


@pytest.mark.slow
def test_a_recording_and_the_shipped_model(libcodec: ctypes.CDLL) -> None:
    path = weights_path("default")
    python, model = NativeBackend(path), binding().Model(libcodec, path)
    audio = np.tile(read_audio(CLIP)[0][0], 2)[: 114 * model.info.hop_length + 5]
    stream = binding().Encoder(model, 8)
    stream.set_refine(1)
    stream.set_beam(4)
    expected = refined(python, audio, 1, 4, 8)
    assert (expected != python.encode_beam(audio, 8, 4)).any(axis=0).mean() > 0.5
    np.testing.assert_array_equal(encoded(stream, audio, (4321, 777)), expected)


def test_steps_change_codes_and_none_changes_nothing(encoder: Made, small: NativeBackend) -> None:
    audio = noise(30 * HOP)
    plain = small.encode(audio, LEVELS)
    assert (encoded(encoder(20), audio, [9999]) != plain).any()
    stream = encoder(20)
    stream.set_refine(0)
    np.testing.assert_array_equal(encoded(stream, audio, [9999]), plain)
    stream.reset()
    stream.set_refine(5)
    np.testing.assert_array_equal(encoded(stream, audio, [9999]), refined(small, audio, 5))


def test_codes_come_out_when_the_margin_is_there(encoder: Made) -> None:
    """What codec.h says of the latency."""
    audio, stream = noise(FULL + SPAN * HOP), encoder(1)
    ready, handle = stream.model.library.codec_encoder_ready, stream.handle
    assert 12 + -(-stream.model.info.encoder_latency // HOP) == AHEAD
    assert [ready(handle, n) for n in (0, FULL - 1, FULL)] == [0, 0, 100]
    assert [ready(handle, FULL + n * SPAN * HOP - 1) for n in (1, 7)] == [100, 700]
    assert ready(handle, 2**64 - 1) == 2**64 - 1
    assert stream.push(audio[: FULL - 1]).shape == (LEVELS, 0)
    assert stream.push(audio[:0]).shape == (LEVELS, 0)
    assert stream.model.library.codec_encoder_left(handle) == SPAN + AHEAD
    assert stream.push(audio[FULL - 1 : FULL]).shape == (LEVELS, 100)
    assert stream.model.library.codec_encoder_left(handle) == AHEAD
    assert stream.push(audio[FULL:]).shape == (LEVELS, 100)
    assert stream.flush().shape == (LEVELS, AHEAD)
    assert ready(handle, 2 * FULL) == stream.model.library.codec_encoder_left(handle) == 0


def test_a_reset_stream_remembers_nothing(encoder: Made, small: NativeBackend) -> None:
    audio, stream = noise(30 * HOP), encoder(20)
    short = audio[: 4 * HOP + 1]
    expected = refined(small, short, 20)
    stream.push(audio)
    for _ in range(2):
        stream.reset()
        np.testing.assert_array_equal(encoded(stream, short, [1111]), expected)


def test_no_audio_has_no_codes(encoder: Made) -> None:
    assert encoder(3).flush().shape == (LEVELS, 0)


def test_the_paths_may_change_from_window_to_window(encoder: Made, small: NativeBackend) -> None:
    audio, stream = noise(FULL + 5000), encoder(1, 3)
    first = stream.push(audio[:FULL])
    stream.set_beam(1)
    rest = np.concatenate([stream.push(audio[FULL:]), stream.flush()], axis=1)
    np.testing.assert_array_equal(first, refined(small, audio, 1, 3)[:, :100])
    np.testing.assert_array_equal(rest, refined(small, audio, 1, 1)[:, 100:])


def test_silence_and_samples_beyond_all_sense(encoder: Made, small: NativeBackend) -> None:
    for value in (0, 1e-42, 1, -1e20, 3e38):
        audio = np.full(5000, value, np.float32)
        np.testing.assert_array_equal(encoded(encoder(2), audio, [1700]), refined(small, audio, 2))


def test_what_fails_changes_nothing(encoder: Made, small: NativeBackend) -> None:
    audio, stream = noise(FULL + 100), encoder(1)
    library, handle = stream.model.library, stream.handle
    bad = np.append(audio[9000:], np.float32(np.nan))
    codes, frames = np.zeros((LEVELS, 150), np.uint16), ctypes.c_size_t()
    to = codes.ctypes.data_as(ctypes.POINTER(ctypes.c_uint16))
    floats = ctypes.POINTER(ctypes.c_float)
    n = ctypes.byref(frames)

    def push(samples: np.ndarray, codes: Any, stride: int, frames: Any) -> int:
        given = samples.ctypes.data_as(floats), len(samples)
        return int(library.codec_encoder_push(handle, *given, codes, stride, frames))

    first = stream.push(audio[:9000])
    assert push(bad, to, 150, n) == AUDIO
    assert push(audio[9000:], to, 99, n) == SIZE
    assert push(audio[9000:], None, 150, n) == ARGUMENT
    assert push(audio[9000:], to, 150, None) == ARGUMENT
    assert library.codec_encoder_push(handle, None, 5, to, 150, n) == ARGUMENT
    assert library.codec_encoder_push(handle, None, 2**63, to, 150, n) == ARGUMENT
    second = stream.push(audio[9000:])
    assert library.codec_encoder_flush(handle, to, AHEAD - 1, n) == SIZE
    assert library.codec_encoder_flush(handle, to, 150, None) == ARGUMENT
    assert not codes.any()
    found = np.concatenate([first, second, stream.flush()], axis=1)
    np.testing.assert_array_equal(found, refined(small, audio, 1))
    assert push(audio, to, 150, n) == library.codec_encoder_flush(handle, to, 150, n) == STATE


def refused(encoder: Any, steps: int) -> tuple[int, str]:
    with pytest.raises(binding().LibraryError) as caught:
        encoder.set_refine(steps)
    return caught.value.status, str(caught.value)


@pytest.mark.parametrize("steps", [1001, 2**64 - 1])
def test_other_numbers_of_steps_are_refused(
    encoder: Made, small: NativeBackend, libcodec: ctypes.CDLL, steps: int
) -> None:
    stream, audio = encoder(2), noise(3000)
    assert refused(stream, steps) == (ARGUMENT, "codes are refined by 0 to 1000 steps")
    np.testing.assert_array_equal(encoded(stream, audio, [999]), refined(small, audio, 2))
    stream.reset()
    stream.set_refine(1000)
    assert libcodec.codec_encoder_set_refine(None, 1, None, 0) == ARGUMENT
    assert libcodec.codec_encoder_set_refine(stream.handle, steps, None, 0) == ARGUMENT


def test_a_stream_that_has_begun_keeps_its_steps(encoder: Made, small: NativeBackend) -> None:
    reason = (STATE, "the steps of a stream are set before its first sample")
    audio = noise(3000)
    for steps, other in ((0, 4), (4, 0), (4, 2)):
        stream = encoder(steps)
        stream.push(audio[:0])
        stream.set_refine(steps)
        first = stream.push(audio[:1])
        assert refused(stream, other) == reason
        rest = stream.push(audio[1:])
        found = np.concatenate([first, rest, stream.flush()], axis=1)
        assert refused(stream, other) == reason
        expected = refined(small, audio, steps) if steps else small.encode(audio, LEVELS)
        np.testing.assert_array_equal(found, expected)
        stream.reset()
        stream.set_refine(other)


def test_a_saved_stream_goes_on_in_c_and_in_python(encoder: Made, small: NativeBackend) -> None:
    audio = noise(FULL + SPAN * HOP + 100)
    expected = refined(small, audio, 1)
    for cut in (0, 5000, FULL, FULL + 1234):
        stream, other = encoder(1), encoder(1)
        python = StreamEncoder(small, refine=1)
        other.push(audio[:777])
        first = stream.push(audio[:cut])
        assert np.array_equal(python.push(audio[:cut]), first)
        state = stream.save()
        assert len(state) == stream.model.library.codec_encoder_state_size(stream.handle)
        assert state == python.save()
        python.restore(state)
        other.load(state)
        rest = np.concatenate([other.push(audio[cut:]), other.flush()], axis=1)
        np.testing.assert_array_equal(np.concatenate([first, rest], axis=1), expected)


def test_bad_states_change_nothing(encoder: Made) -> None:
    audio, stream, plain = noise(FULL + 100), encoder(1), encoder(0)
    stream.push(audio)
    good = stream.save()
    for field, value in ((0, -1), (0, FULL + SPAN * HOP), (0, FULL - 1), (1, 50), (1, 200),
                         (1, 2**62), (2, 2)):  # fmt: skip
        forged = bytearray(good)
        struct.pack_into("<q", forged, 18 + 8 * field, value)
        struct.pack_into("<I", forged, 14, zlib.crc32(forged[18:]))
        assert load(stream, bytes(forged)) == STATE
    for bad in (good[:-1], good + b"0", b"NACe" + good[4:], plain.save(), encoder(1, 1, 1).save(),
                good[:-1] + bytes([good[-1] ^ 1])):  # fmt: skip
        assert load(stream, bad) == STATE
    assert load(plain, good) == STATE
    assert stream.save() == good
    room = ctypes.create_string_buffer(len(good))
    save = stream.model.library.codec_encoder_save
    assert save(stream.handle, room, len(good) - 1) == SIZE
    assert room.raw == bytes(len(good))
    stream.reset()
    stream.set_refine(0)
    assert stream.save() == plain.save()


def load(encoder: Any, state: bytes) -> int:
    return int(encoder.model.library.codec_encoder_load(encoder.handle, state, len(state)))


def test_a_loaded_stream_keeps_its_steps(encoder: Made, small: NativeBackend) -> None:
    audio, stream = noise(3000), encoder(3)
    stream.push(audio[:1500])
    other = encoder(7)
    other.load(stream.save())
    assert refused(other, 3)[0] == STATE
    found = np.concatenate([other.push(audio[1500:]), other.flush()], axis=1)
    np.testing.assert_array_equal(found, refined(small, audio, 7))


def test_latents_are_for_streams_without_steps(encoder: Made, small: NativeBackend) -> None:
    audio, stream = noise(3000), encoder(2)
    stream.push(audio[:1500])
    for call in (stream.flush_latents, lambda: stream.push_latents(audio)):
        with pytest.raises(binding().LibraryError) as caught:
            call()
        assert caught.value.status == UNSUPPORTED
    rest = np.concatenate([stream.push(audio[1500:]), stream.flush()], axis=1)
    np.testing.assert_array_equal(rest, refined(small, audio, 2))


@pytest.mark.parametrize(("steps", "beam"), [(0, 1), (0, 3), (2, 1), (2, 3)])
def test_a_whole_clip(encoder: Made, small: NativeBackend, steps: int, beam: int) -> None:
    model = encoder(0).model
    for samples in (1, 3000, FULL, FULL + 1):
        audio = noise(samples)
        found = model.encode(audio, 2, beam, steps)
        expected = (
            refined(small, audio, steps, beam, 2) if steps else small.encode_beam(audio, 2, beam)
        )
        np.testing.assert_array_equal(found, expected)
    assert model.encode(audio[:0], 2, beam, steps).shape == (2, 0)
    for bad in ((0, 1, 1), (2, 0, 1), (2, 65, 1), (2, 1, 1001)):
        with pytest.raises(binding().LibraryError) as caught:
            model.encode(audio, *bad)
        assert caught.value.status == ARGUMENT


def test_a_model_that_cannot_be_refined_says_why(libcodec: ctypes.CDLL, tmp_path: Path) -> None:
    path = write_weights(tmp_path / "m.safetensors", uneven(FINE))
    model = binding().Model(libcodec, path)
    stream, plain = binding().Encoder(model, 2), binding().Encoder(model, 2)
    stream.set_refine(0)
    reason = "codes cannot be refined with a hop of 300 samples"
    assert refused(stream, 1) == (UNSUPPORTED, reason)
    audio = np.zeros(5000, np.float32)
    with pytest.raises(binding().LibraryError) as caught:
        model.encode(audio, 2, steps=1)
    assert caught.value.status == UNSUPPORTED
    assert stream.push(audio).shape == plain.push(audio).shape


def test_threads_that_are_first_share_what_is_made(libcodec: ctypes.CDLL) -> None:
    """Of the shipped model, which takes so long to prepare that they overlap."""
    path, audio = weights_path("default"), noise(700)
    expected = refined(NativeBackend(path), audio, 1, levels=2)
    model = binding().Model(libcodec, path)
    start, found = threading.Barrier(3), []

    def work() -> None:
        stream = binding().Encoder(model, 2)
        start.wait()
        stream.set_refine(1)
        found.append(encoded(stream, audio, [300]))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert all(np.array_equal(codes, expected) for codes in found)
