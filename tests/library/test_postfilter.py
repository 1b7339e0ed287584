"""libcodec's postfilter: the samples of Python, and its states, for any size of a push."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.random_weights import SMALL, STEREO, VARIANTS, signal, uneven, write_weights
from codec.model.location import weights_path
from tests.helpers.c_library import binding, swapped

pytest.importorskip("codec.engine._engine", reason="needs the native engine")
from codec.engine.latents import LatentStreamDecoder
from codec.engine.native import NativeBackend, isas
from codec.engine.postfilter import postfilter_at
from codec.engine.stream import StreamDecoder

SIZE, UNSUPPORTED, CODES, STATE = 2, 6, 8, 9
POSTFILTER = postfilter_at(24_000)
FRAMES = 30
MODELS = VARIANTS | {"uneven": uneven(SMALL), "stereo": dataclasses.replace(SMALL, channels=2)}


class Pair:
    """A model in C and in Python, codes, and what Python filters of them."""

    def __init__(self, libcodec: ctypes.CDLL, path: Path) -> None:
        self.path, self.c, self.python = path, binding().Model(libcodec, path), NativeBackend(path)
        config = self.python.config
        codes = self.python.encode(signal(config, FRAMES * config.hop_length), config.n_codebooks)
        self.codes = codes
        stream = StreamDecoder(self.python, POSTFILTER)
        self.samples = swapped(np.concatenate([stream.push(codes), stream.flush()], axis=-1))
        plain = swapped(self.python.decode(codes))
        assert self.samples.shape == plain.shape
        assert not np.array_equal(self.samples, plain)

    def decoder_bytes(self) -> int:
        """Bytes of a saved state before those of the filters."""
        return len(binding().Decoder(self.c).save())

    def decoder(self) -> Any:
        decoder = binding().Decoder(self.c)
        decoder.set_postfilter(True)
        return decoder


@pytest.fixture(scope="module", params=MODELS)
def pair(
    request: pytest.FixtureRequest,
    libcodec: ctypes.CDLL,
    tmp_path_factory: pytest.TempPathFactory,
) -> Pair:
    path = tmp_path_factory.mktemp("filtered") / "m.safetensors"
    return Pair(libcodec, write_weights(path, MODELS[request.param]))


def decoded(decoder: Any, pieces: list[np.ndarray]) -> np.ndarray:
    """All samples; the binding checks that there are as many as the decoder said."""
    return np.concatenate([*map(decoder.push, pieces), decoder.flush()])


def cut(codes: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    return np.split(codes, sorted(cut % (codes.shape[1] + 1) for cut in cuts), axis=1)


def failure(call: Any, *arguments: Any) -> int:
    with pytest.raises(binding().LibraryError) as caught:
        call(*arguments)
    return int(caught.value.status)


CUTS = st.lists(st.integers(0, 2**20), max_size=6)


@settings(max_examples=10, deadline=None)
@given(cuts=CUTS)
def test_samples_are_those_of_python(pair: Pair, cuts: list[int]) -> None:
    decoder = pair.decoder()
    library, handle = pair.c.library, decoder.handle
    said, found = [], []
    for piece in cut(pair.codes, cuts):
        said.append(library.codec_decoder_ready(handle, piece.shape[1]))
        found.append(decoder.push(piece))
    said.append(library.codec_decoder_left(handle))
    found.append(decoder.flush())
    assert [len(part) for part in found] == said
    np.testing.assert_array_equal(np.concatenate(found).view("u4"), pair.samples.view("u4"))


def test_more_frames_than_are_decoded_at_once(pair: Pair) -> None:
    codes = np.tile(pair.codes, 11)
    stream = StreamDecoder(pair.python, POSTFILTER)
    expected = swapped(np.concatenate([stream.push(codes), stream.flush()], axis=-1))
    np.testing.assert_array_equal(decoded(pair.decoder(), [codes]), expected)


@settings(max_examples=5, deadline=None)
@given(cuts=CUTS)
def test_latents_are_filtered_too(pair: Pair, cuts: list[int]) -> None:
    config = pair.python.config
    latents = pair.python.encoder.latents(signal(config, FRAMES * config.hop_length))
    stream = LatentStreamDecoder(pair.python, post=POSTFILTER)
    expected = np.concatenate([stream.push(latents.T), stream.flush()], axis=-1)
    decoder = pair.decoder()
    edges = sorted(cut % (FRAMES + 1) for cut in cuts)
    parts = [decoder.push_latents(piece) for piece in np.split(latents, edges)]
    np.testing.assert_array_equal(np.concatenate([*parts, decoder.flush()]), swapped(expected))


@pytest.mark.parametrize("at", [0, 1, 7])
def test_states_go_to_python_and_back(pair: Pair, at: int) -> None:
    decoder, python = pair.decoder(), StreamDecoder(pair.python, POSTFILTER)
    first = decoder.push(pair.codes[:, :at])
    python.push(pair.codes[:, :at])
    assert decoder.save() == python.save()
    other = pair.decoder()
    other.push(pair.codes)
    other.load(python.save())
    found = np.concatenate([first, decoded(other, [pair.codes[:, at:]])])
    np.testing.assert_array_equal(found, pair.samples)
    python.restore(decoder.save())
    rest = np.concatenate([python.push(pair.codes[:, at:]), python.flush()], axis=-1)
    np.testing.assert_array_equal(np.concatenate([first, swapped(rest)]), pair.samples)
    assert other.save() == python.save()  # of a stream that has ended


def test_states_with_and_without_are_not_each_other_s(pair: Pair) -> None:
    plain, filtered = binding().Decoder(pair.c), pair.decoder()
    for one, other in ((plain, filtered), (filtered, plain)):
        before = one.save()
        assert failure(one.load, other.save()) == STATE
        assert one.save() == before


def test_a_forged_state_is_refused(pair: Pair) -> None:
    decoder = pair.decoder()
    decoder.push(pair.codes[:, :9])
    good = decoder.save()
    filters = (len(good) - pair.decoder_bytes()) // pair.python.config.channels
    for channel, field in itertools.product(range(pair.python.config.channels), (0, 8)):
        at = pair.decoder_bytes() + channel * filters + field
        for value in (-1, 7, 1 << 40):
            forged = bytearray(good)
            forged[at : at + 8] = value.to_bytes(8, "little", signed=True)
            forged[14:18] = zlib.crc32(forged[18:]).to_bytes(4, "little")
            assert failure(decoder.load, bytes(forged)) == STATE
    assert decoder.save() == good


def test_it_is_set_before_the_first_frame_and_kept(pair: Pair) -> None:
    decoder = pair.decoder()
    decoder.push(pair.codes[:, :0])
    decoder.set_postfilter(False)
    decoder.set_postfilter(True)
    for _ in range(2):
        np.testing.assert_array_equal(decoded(decoder, [pair.codes]), pair.samples)
        assert failure(decoder.set_postfilter, False) == STATE
        assert failure(decoder.push, pair.codes) == STATE
        assert failure(decoder.flush) == STATE
        assert pair.c.library.codec_decoder_ready(decoder.handle, 100) == 0
        assert pair.c.library.codec_decoder_left(decoder.handle) == 0
        decoder.reset()
    decoder.push(pair.codes[:, :1])
    with pytest.raises(binding().LibraryError, match="is set before its first frame"):
        decoder.set_postfilter(False)
    decoder.reset()
    decoder.set_postfilter(False)
    plain = swapped(pair.python.decode(pair.codes))
    np.testing.assert_array_equal(decoded(decoder, [pair.codes]), plain)


def test_the_latency_is_that_of_python(pair: Pair) -> None:
    plain = binding().Decoder(pair.c)
    assert plain.latency == StreamDecoder(pair.python).latency == pair.c.info.decoder_latency
    assert pair.decoder().latency == StreamDecoder(pair.python, POSTFILTER).latency
    ahead = pair.decoder().latency - plain.latency
    assert 480 <= ahead < 600  # 20 to 25 ms


def test_a_call_that_fails_changes_nothing(pair: Pair) -> None:
    decoder, library = pair.decoder(), pair.c.library
    decoder.push(pair.codes[:, :5])
    before = decoder.save()
    wrong = pair.codes.copy()
    wrong[-1, -1] = pair.python.config.codebook_size
    assert failure(decoder.push, wrong) == CODES
    ready, n = library.codec_decoder_ready(decoder.handle, FRAMES), ctypes.c_size_t()
    samples = pair.c.room(ready)
    given = pair.codes.ctypes.data_as(ctypes.POINTER(ctypes.c_uint16))
    to = samples.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    levels = len(pair.codes)
    for room in (0, ready - 1):
        status = library.codec_decoder_push(
            decoder.handle, given, FRAMES, levels, FRAMES, to, room, ctypes.byref(n)
        )
        assert status == SIZE
        status = library.codec_decoder_flush(decoder.handle, to, 0, ctypes.byref(n))
        assert status == SIZE
    assert library.codec_decoder_ready(decoder.handle, 1 << 62) == 2**64 - 1
    assert decoder.save() == before


def test_a_model_of_another_rate_is_refused(libcodec: ctypes.CDLL, tmp_path: Path) -> None:
    path = write_weights(tmp_path / "m.safetensors", STEREO)
    decoder = binding().Decoder(binding().Model(libcodec, path))
    message = "the postfilter is for models of 24000 Hz, not 48000 Hz"
    with pytest.raises(binding().LibraryError, match=message) as caught:
        decoder.set_postfilter(True)
    assert caught.value.status == UNSUPPORTED
    decoder.set_postfilter(False)
    codes = np.zeros((1, 3), np.uint16)
    assert len(decoded(decoder, [codes])) == 3 * STEREO.hop_length


@pytest.mark.slow
def test_the_shipped_model_on_every_instruction_set(libcodec: ctypes.CDLL) -> None:
    path = weights_path("default")
    python = NativeBackend(path)
    codes = python.encode(signal(python.config, 60_000), 8)
    stream = StreamDecoder(python, POSTFILTER)
    expected = np.concatenate([stream.push(codes), stream.flush()])
    for isa in isas():
        decoder = binding().Decoder(binding().Model(libcodec, path, isa))
        decoder.set_postfilter(True)
        parts = np.array_split(codes, 9, axis=1)
        np.testing.assert_array_equal(decoded(decoder, parts), expected, isa)
