"""libcodec's streams: in pieces as whole, with states that move between processes and languages."""

from __future__ import annotations

import ctypes
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from bench.random_weights import STEREO, VARIANTS, signal, write_weights
from tests.helpers.c_library import binding, swapped

pytest.importorskip("codec.engine._engine", reason="needs the native engine")
import itertools

from codec.engine.native import NativeBackend
from codec.engine.stream import StreamDecoder, StreamEncoder

ARGUMENT, SIZE, AUDIO, CODES, STATE = 1, 2, 7, 8, 9
FRAMES = 9
MODELS = VARIANTS | {"stereo": STEREO}


class Pair:
    """A model in C and in Python, with audio as C takes it, and what both make of it."""

    def __init__(self, libcodec: ctypes.CDLL, path: Path) -> None:
        self.c, self.python = binding().Model(libcodec, path), NativeBackend(path)
        config = self.python.config
        audio = signal(config, FRAMES * config.hop_length - 7)
        self.audio = swapped(audio)
        self.codes = self.python.encode(audio, self.levels)
        self.samples = swapped(self.python.decode(self.codes))

    @property
    def levels(self) -> int:
        return self.python.config.n_codebooks

    def encoder(self, levels: int | None = None) -> Any:
        return binding().Encoder(self.c, levels or self.levels)

    def decoder(self) -> Any:
        return binding().Decoder(self.c)


@pytest.fixture(scope="module", params=MODELS)
def pair(
    request: pytest.FixtureRequest,
    libcodec: ctypes.CDLL,
    tmp_path_factory: pytest.TempPathFactory,
) -> Pair:
    path = tmp_path_factory.mktemp("streams") / "m.safetensors"
    return Pair(libcodec, write_weights(path, MODELS[request.param]))


def pieces(cuts: list[int], n: int) -> list[slice]:
    edges = [0, *sorted(cut % (n + 1) for cut in cuts), n]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


CUTS = st.lists(st.integers(0, 2**20), max_size=5)


@settings(max_examples=12, deadline=None)
@given(cuts=CUTS)
def test_pieces_make_the_whole(pair: Pair, cuts: list[int]) -> None:
    encoder, decoder = pair.encoder(), pair.decoder()
    parts = [encoder.push(pair.audio[piece]) for piece in pieces(cuts, len(pair.audio))]
    np.testing.assert_array_equal(np.concatenate([*parts, encoder.flush()], axis=1), pair.codes)
    samples = [decoder.push(pair.codes[:, piece]) for piece in pieces(cuts, FRAMES)]
    whole = np.concatenate([*samples, decoder.flush()])
    np.testing.assert_array_equal(whole.view("u4"), pair.samples.view("u4"))


@settings(max_examples=6, deadline=None)
@given(cuts=CUTS)
def test_latents_are_those_of_python(pair: Pair, cuts: list[int]) -> None:
    encoder, decoder, network = pair.encoder(), pair.decoder(), pair.python.decoder
    parts = [encoder.push_latents(pair.audio[piece]) for piece in pieces(cuts, len(pair.audio))]
    latents = np.concatenate([*parts, encoder.flush_latents()])
    expected = pair.python.encoder.latents(swapped(pair.audio))
    np.testing.assert_array_equal(latents.view("u4"), expected.view("u4"))
    samples = [decoder.push_latents(latents[piece]) for piece in pieces(cuts, FRAMES)]
    state = np.empty(network.state_size, np.int64)
    network.reset(state)
    parts = [network.push_latents(state, latents), network.flush(state)]
    expected = swapped(np.concatenate(parts, axis=-1))
    whole = np.concatenate([*samples, decoder.flush()])
    np.testing.assert_array_equal(whole.view("u4"), expected.view("u4"))


def test_the_number_of_codebooks_may_change(pair: Pair) -> None:
    one, rest = pair.codes[:1, :4], pair.codes[:, 4:]
    decoder = pair.decoder()
    found = np.concatenate([decoder.push(one), decoder.push(rest), decoder.flush()])
    np.testing.assert_array_equal(swapped(found), pair.python.decode_pieces([one, rest]))


@pytest.mark.parametrize("cut", [0, 1, 1000, 4321])
def test_states_go_to_python_and_back(pair: Pair, cut: int) -> None:
    encoder, python = pair.encoder(), StreamEncoder(pair.python)
    head = encoder.push(pair.audio[:cut])
    np.testing.assert_array_equal(python.push(swapped(pair.audio[:cut])), head)
    assert encoder.save() == python.save()
    python.reset()
    python.restore(encoder.save())
    other = pair.encoder()
    other.load(python.save())
    rest = pair.audio[cut:]
    for stream, left in ((python, swapped(rest)), (other, rest)):
        parts = [head, stream.push(left), stream.flush()]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), pair.codes)
    assert other.save() == python.save()  # of a stream that has ended

    decoder, again = pair.decoder(), StreamDecoder(pair.python)
    first = decoder.push(pair.codes[:, :3])
    again.push(pair.codes[:, :3])
    assert decoder.save() == again.save()
    fresh = pair.decoder()
    fresh.load(again.save())
    samples = np.concatenate([first, fresh.push(pair.codes[:, 3:]), fresh.flush()])
    np.testing.assert_array_equal(samples, pair.samples)


def failure(call: Any, *arguments: Any) -> int:
    with pytest.raises(binding().LibraryError) as caught:
        call(*arguments)
    return int(caught.value.status)


def test_a_state_that_does_not_fit_changes_nothing(pair: Pair) -> None:
    encoder, decoder = pair.encoder(), pair.decoder()
    head = encoder.push(pair.audio[:3000])
    good = encoder.save()
    wrong = [b"", good[:-1], good + b"\0", decoder.save(), pair.encoder(1).save()]
    for at in (0, 5, 12, 14, 20, len(good) // 2, len(good) - 1):
        wrong.append(good[:at] + bytes([good[at] ^ 64]) + good[at + 1 :])
    for state in wrong:
        assert failure(encoder.load, state) == STATE
    assert encoder.save() == good
    parts = [head, encoder.push(pair.audio[3000:]), encoder.flush()]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), pair.codes)


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_a_forged_state_is_refused(pair: Pair, half: str) -> None:
    """Numbers in it that address memory are checked, whatever the checksum says."""
    stream = getattr(pair, half)()
    good = stream.save()
    # samples, samples held, frames stacked, ended | samples to drop, ended; rows of the first block
    too_large = (
        [1 << 60, 1 << 40, 1 << 40, 2, 1 << 40] if half == "encoder" else [1 << 40, 2, 1 << 40]
    )
    for field, large in enumerate(too_large):
        for value in (-1, large):
            body = bytearray(good[18:])
            body[8 * field : 8 * field + 8] = value.to_bytes(8, "little", signed=True)
            forged = good[:14] + zlib.crc32(body).to_bytes(4, "little") + bytes(body)
            assert failure(stream.load, forged) == STATE
    assert stream.save() == good


def test_an_ended_stream_waits_for_a_reset(pair: Pair) -> None:
    encoder, decoder, library = pair.encoder(), pair.decoder(), pair.c.library
    for _ in range(2):
        parts = [encoder.push(pair.audio), encoder.flush()]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), pair.codes)
        samples = np.concatenate([decoder.push(pair.codes), decoder.flush()])
        np.testing.assert_array_equal(samples, pair.samples)
        assert failure(encoder.push, pair.audio) == STATE
        assert failure(encoder.flush) == STATE
        assert failure(encoder.push_latents, pair.audio) == STATE
        assert failure(decoder.push, pair.codes) == STATE
        assert failure(decoder.flush) == STATE
        assert library.codec_encoder_ready(encoder.handle, 10**6) == 0
        assert library.codec_encoder_left(encoder.handle) == 0
        assert library.codec_decoder_ready(decoder.handle, 100) == 0
        encoder.reset()
        decoder.reset()


def test_a_call_that_fails_changes_nothing(pair: Pair) -> None:
    encoder, decoder, library = pair.encoder(), pair.decoder(), pair.c.library
    n = ctypes.c_size_t()
    ready = library.codec_encoder_ready(encoder.handle, len(pair.audio))
    assert ready > 0
    before = encoder.save()
    bad = pair.audio.copy()
    bad.reshape(-1)[-1] = np.nan
    assert failure(encoder.push, bad) == AUDIO
    samples = pair.audio.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    codes = np.zeros((pair.levels, ready), np.uint16)
    out = codes.ctypes.data_as(ctypes.POINTER(ctypes.c_uint16))
    push = library.codec_encoder_push
    size = len(pair.audio)
    assert push(encoder.handle, samples, size, out, ready - 1, ctypes.byref(n)) == SIZE
    assert push(encoder.handle, samples, size, None, ready, ctypes.byref(n)) == ARGUMENT
    assert push(encoder.handle, samples, 1 << 62, out, ready, ctypes.byref(n)) == ARGUMENT
    assert library.codec_encoder_ready(encoder.handle, 1 << 62) == 2**64 - 1
    assert encoder.save() == before
    assert not codes.any()

    before = decoder.save()
    wrong = pair.codes.copy()
    wrong[-1, -1] = pair.python.config.codebook_size
    assert failure(decoder.push, wrong) == CODES
    latents = np.zeros((2, pair.python.config.latent_dim), np.float32)
    for value in (np.nan, np.inf, 2e30, -2e30):
        latents[1, -1] = value
        assert failure(decoder.push_latents, latents) == CODES
    assert library.codec_decoder_ready(decoder.handle, 1 << 62) == 2**64 - 1
    assert decoder.save() == before


def test_the_package_gives_the_same(pair: Pair, tmp_path: Path) -> None:
    """From `codec.load` on, which cuts long audio into spans."""
    path = write_weights(tmp_path / "m.safetensors", pair.python.config)
    tokens = codec.load(path).encode(swapped(pair.audio), pair.python.config.sample_rate)
    np.testing.assert_array_equal(tokens.codes[0], pair.codes)
