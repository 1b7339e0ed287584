"""libcodec's beam search: the codes of Python, whole and in pieces, on every instruction set."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.random_weights import SMALL, STEREO, VARIANTS, signal, write_weights
from codec.support.types import Codes
from tests.helpers.c_library import binding, swapped

pytest.importorskip("codec.engine._engine", reason="needs the native engine")
from codec.engine.native import NativeBackend, isas
from codec.engine.stream import StreamEncoder

ARGUMENT = 1
MODELS = VARIANTS | {"stereo": STEREO}
LEVELS = SMALL.n_codebooks
AUDIO = signal(SMALL, 9 * SMALL.hop_length - 7)

Made = Callable[..., Any]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> NativeBackend:
    return NativeBackend(write_weights(tmp_path_factory.mktemp("m") / "m.safetensors", SMALL))


@pytest.fixture(scope="module")
def encoder(libcodec: ctypes.CDLL, small: NativeBackend, tmp_path_factory: Any) -> Made:
    """Makes an encoder of the small model with so many paths."""
    path = write_weights(tmp_path_factory.mktemp("c") / "m.safetensors", SMALL)
    model = binding().Model(libcodec, path)

    def made(beam: int) -> Any:
        stream = binding().Encoder(model, LEVELS)
        stream.set_beam(beam)
        return stream

    return made


def searched(python: NativeBackend, audio: np.ndarray, levels: int, beam: int) -> Codes:
    """The codes of Python; those of one path are the ordinary ones."""
    if beam > 1:
        return python.encode_beam(audio, levels, beam)
    return python.encode(audio, levels)


def encoded(encoder: Any, audio: np.ndarray, size: int) -> Codes:
    """All codes of `audio`, pushed in pieces of `size` samples."""
    parts = [encoder.push(audio[at : at + size]) for at in range(0, len(audio), size)]
    return np.concatenate([*parts, encoder.flush()], axis=1)


@pytest.mark.parametrize("beam", [1, 2, 8, 64])
@pytest.mark.parametrize("name", MODELS)
def test_codes_are_those_of_python(
    libcodec: ctypes.CDLL, tmp_path: Path, name: str, beam: int
) -> None:
    config = MODELS[name]
    path = write_weights(tmp_path / "m.safetensors", config)
    python = NativeBackend(path)
    audio = signal(config, 9 * config.hop_length - 7)
    for levels in (2, config.n_codebooks):
        expected = searched(python, audio, levels, beam)
        assert (beam > 1) == (expected != python.encode(audio, levels)).any()
        for isa in isas():
            encoder = binding().Encoder(binding().Model(libcodec, path, isa), levels)
            encoder.set_beam(beam)
            for size in (audio.shape[-1], 1700, 333):
                codes = encoded(encoder, swapped(audio), size)
                np.testing.assert_array_equal(codes, expected, f"{isa}, {size}")
                encoder.reset()


def test_many_frames_at_once(encoder: Made, small: NativeBackend) -> None:
    """More than the engine, or the search, takes at a time."""
    audio = signal(SMALL, 400 * SMALL.hop_length)
    expected = searched(small, audio, LEVELS, 3)
    np.testing.assert_array_equal(encoded(encoder(3), audio, len(audio)), expected)


def test_samples_beyond_what_the_search_can_compare(encoder: Made, small: NativeBackend) -> None:
    for value in (3e38, -1e20):
        audio = np.full(5000, value, np.float32)
        expected = searched(small, audio, LEVELS, 8)
        np.testing.assert_array_equal(encoded(encoder(8), audio, 1700), expected)


def test_the_paths_may_change(encoder: Made, small: NativeBackend) -> None:
    stream = encoder(8)
    first = stream.push(AUDIO[:5000])
    stream.set_beam(1)
    second = stream.push(AUDIO[5000:])
    stream.set_beam(64)
    last = stream.flush()
    cuts = np.cumsum([first.shape[1], second.shape[1]])
    assert 0 < cuts[0] < cuts[1] < small.config.n_frames(len(AUDIO))
    for found, beam, at in zip((first, second, last), (8, 1, 64), range(3), strict=True):
        expected = np.split(searched(small, AUDIO, LEVELS, beam), cuts, axis=1)[at]
        np.testing.assert_array_equal(found, expected)


def test_a_stream_that_goes_on_from_a_state_keeps_its_paths(
    encoder: Made, small: NativeBackend
) -> None:
    """Also in Python, where the state is the same."""
    stream, python, one = encoder(8), StreamEncoder(small, LEVELS, beam=8), encoder(1)
    for each in (stream, python, one):
        each.push(AUDIO[:5000])
    saved = stream.save()
    assert saved == python.save() == one.save()
    begun = small.config.n_frames(len(AUDIO))
    for other, beam in ((encoder(8), 8), (encoder(1), 1), (StreamEncoder(small, LEVELS, 2), 2)):
        other.restore(saved) if isinstance(other, StreamEncoder) else other.load(saved)
        rest = np.concatenate([other.push(AUDIO[5000:]), other.flush()], axis=1)
        assert 0 < rest.shape[1] < begun
        expected = searched(small, AUDIO, LEVELS, beam)[:, -rest.shape[1] :]
        np.testing.assert_array_equal(rest, expected)


def test_latents_need_no_search(encoder: Made, small: NativeBackend) -> None:
    stream = encoder(8)
    latents = np.concatenate([stream.push_latents(AUDIO), stream.flush_latents()])
    np.testing.assert_array_equal(latents.view("u4"), small.encoder.latents(AUDIO).view("u4"))


@pytest.mark.parametrize("paths", [0, 65, 2**64 - 1])
def test_other_numbers_of_paths_are_refused(
    encoder: Made, small: NativeBackend, libcodec: ctypes.CDLL, paths: int
) -> None:
    stream = encoder(8)
    with pytest.raises(binding().LibraryError, match="out of range") as caught:
        stream.set_beam(paths)
    assert caught.value.status == ARGUMENT
    assert libcodec.codec_encoder_set_beam(None, 8) == ARGUMENT
    expected = searched(small, AUDIO, LEVELS, 8)  # as before
    np.testing.assert_array_equal(encoded(stream, AUDIO, 1700), expected)
