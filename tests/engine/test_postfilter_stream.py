"""The postfilter of streams: the samples of the whole, for any pieces, in any process."""

from __future__ import annotations

import dataclasses
import itertools
import math
import pickle
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from bench.random_weights import SMALL, STEREO, VARIANTS, signal, uneven, write_weights
from codec.errors import BackendError, StateError
from codec.model.latent_scale import SUFFIX, LatentScale
from tests.helpers.postfiltered import RATE, voice, whole

engine = pytest.importorskip("codec.engine._engine", reason="needs the native engine")

HOP, AHEAD = engine.POSTFILTER_HOP, engine.POSTFILTER_REACH[1]
MODELS = VARIANTS | {
    "uneven": uneven(SMALL),
    "stereo": dataclasses.replace(SMALL, channels=2),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request, tmp_path_factory):
    config = MODELS[request.param]
    path = write_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", config)
    made = codec.load(path)
    ones = np.ones(config.latent_dim, np.float32)
    LatentScale(ones, 2 * ones).save(path.with_suffix(SUFFIX), made.model_id)
    return made


def tokens_of(model: codec.Codec, frames: int) -> codec.Tokens:
    audio = signal(model.config, frames * model.config.hop_length, seed=frames)
    return model.encode(audio, RATE)


def pieces(x: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    """Cut x along its last axis."""
    return np.split(x, sorted(cut % (x.shape[-1] + 1) for cut in cuts), axis=-1)


def streamed(stream: Any, parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([*map(stream.push, parts), stream.flush()], axis=-1)


def filtered(model: codec.Codec, tokens: codec.Tokens) -> np.ndarray:
    """What a stream must give: [samples], or [2, samples] of two channels together."""
    audio = model.decode(tokens, postfilter=True)
    return audio if model.config.channels == 2 else audio[0]


CUTS = st.lists(st.integers(0, 2**20), max_size=8)


@settings(max_examples=60, deadline=None)
@given(samples=st.integers(1, 20_000), cuts=CUTS)
def test_audio_in_any_pieces(samples, cuts):
    audio = voice(samples, 0.1)
    state = np.empty(engine.POSTFILTER_STATE, np.int64)
    engine.postfilter_reset(state)
    given, found = 0, []
    *parts, last = pieces(audio, cuts)
    for part in parts:
        given += len(part)
        found.append(engine.postfilter_push(state, part))
        # as much as is certain, and no more
        assert sum(map(len, found)) == max(0, given // HOP - AHEAD) * HOP
        assert engine.postfilter_valid(state[None])
    found.append(engine.postfilter_push(state, last, last=True))
    assert np.array_equal(np.concatenate(found), whole(audio))
    # and the state is that of a new stream
    again = engine.postfilter_push(state, audio, last=True)
    assert np.array_equal(again, np.concatenate(found))


def test_a_stream_without_samples_is_empty():
    state = np.empty(engine.POSTFILTER_STATE, np.int64)
    engine.postfilter_reset(state)
    nothing = np.zeros(0, np.float32)
    assert len(engine.postfilter_push(state, nothing)) == 0
    assert len(engine.postfilter_push(state, nothing, last=True)) == 0


@settings(max_examples=20, deadline=None)
@given(frames=st.integers(1, 40), cuts=CUTS)
def test_codes_and_latents_in_any_pieces(model, frames, cuts):
    tokens = tokens_of(model, frames)
    expected = filtered(model, tokens)
    decoder = model.stream_decoder(postfilter=True)
    assert np.array_equal(streamed(decoder, pieces(tokens.codes[0], cuts)), expected)
    with pytest.raises(StateError, match="ended"):
        decoder.flush()
    decoder.reset()
    assert np.array_equal(streamed(decoder, [tokens.codes[0]]), expected)

    latents = model.encode_latents(signal(model.config, frames * 960), RATE)[0]
    latent = model.stream_decoder(latents=True, postfilter=True)
    plain = streamed(model.stream_decoder(latents=True), [latents])
    expected = np.stack([whole(one) for one in np.atleast_2d(plain)]).reshape(plain.shape)
    assert np.array_equal(streamed(latent, pieces(latents, cuts)), expected)


def test_a_stream_filters(model):
    codes = tokens_of(model, 60).codes[0]
    plain, postfiltered = (
        streamed(model.stream_decoder(postfilter=postfilter), [codes])
        for postfilter in (False, True)
    )
    assert plain.shape == postfiltered.shape
    assert not np.array_equal(plain, postfiltered)


def test_what_waits_is_what_the_latency_says(model):
    decoder, plain = model.stream_decoder(postfilter=True), model.stream_decoder()
    codes, hop = tokens_of(model, 30).codes[0], model.config.hop_length
    waits, out = [], 0
    for frame in range(codes.shape[1]):
        out += decoder.push(codes[:, frame : frame + 1]).shape[-1]
        if out:
            waits.append((frame + 1) * hop - out)
    assert max(waits) == decoder.latency
    assert decoder.latency >= plain.latency + AHEAD * HOP
    if math.gcd(hop, HOP) == HOP:
        assert set(waits) == {decoder.latency}


@settings(max_examples=12, deadline=None)
@given(cut=st.integers(0, 20), data=st.data())
def test_a_restored_stream_goes_on(model, cut, data):
    tokens = tokens_of(model, 20)
    codes, kinds = tokens.codes[0], {"postfilter": True}
    decoder, other = model.stream_decoder(**kinds), model.stream_decoder(**kinds)
    other.push(codes[:, :7])
    begin = decoder.push(codes[:, :cut])
    other.restore(decoder.save())
    copied = pickle.loads(pickle.dumps(decoder))
    assert copied.latency == decoder.latency
    for stream in (decoder, other, copied):
        rest = streamed(stream, pieces(codes[:, cut:], data.draw(CUTS)))
        found = np.concatenate([begin, rest], axis=-1)
        assert np.array_equal(found, filtered(model, tokens))
    other.restore(decoder.save())
    with pytest.raises(StateError, match="ended"):
        other.push(codes)


def test_a_copy_of_a_stream_of_latents_is_filtered_too(model):
    latents = model.encode_latents(signal(model.config, 9600), RATE)[0]
    stream = model.stream_decoder(latents=True, postfilter=True)
    begin = stream.push(latents[:, :4])
    copied = pickle.loads(pickle.dumps(stream))
    rest = [streamed(one, [latents[:, 4:]]) for one in (stream, copied)]
    assert np.array_equal(*rest)
    assert (begin.shape[-1] + rest[0].shape[-1]) == latents.shape[1] * model.config.hop_length


def test_states_of_filtered_streams_are_their_own(model):
    streams = [
        model.stream_decoder(latents=latents, postfilter=postfilter)
        for latents, postfilter in itertools.product((False, True), repeat=2)
    ]
    for one, other in itertools.permutations(streams, 2):
        before = one.save()
        with pytest.raises(StateError, match="not a saved state of this kind of stream"):
            one.restore(other.save())
        assert one.save() == before


def test_a_forged_state_is_safe(model):
    """Whatever the filter's two integers are, and its samples: refused, or within bounds."""
    stream = model.stream_decoder(postfilter=True)
    codes = tokens_of(model, 3).codes[0]
    good, filters = stream.save(), model.config.channels * engine.POSTFILTER_STATE * 8
    rng = np.random.default_rng(0)
    refused = 0
    for at, value in itertools.product(
        (len(good) - filters, len(good) - filters + 8),
        (-1, 1, 6, 7, 600, 1319, 1320, 2**31, 2**63 - 1, -(2**63)),
    ):
        forged = bytearray(good)
        forged[at + 16 : at + 4000] = rng.bytes(4000 - 16)
        struct.pack_into("<q", forged, at, value)
        struct.pack_into("<I", forged, 14, zlib.crc32(forged[18:]))
        try:
            stream.restore(bytes(forged))
        except StateError:
            refused += 1
            continue
        assert streamed(stream, [codes]).shape[-1] < 10_000
    assert refused >= 10


def test_a_model_of_another_rate_is_refused(tmp_path):
    model = codec.load(write_weights(tmp_path / "w.safetensors", STEREO))
    for act in (
        lambda: model.stream_decoder(postfilter=True),
        lambda: model.stream_decoder(postfilter=True, latents=True, normalized=False),
    ):
        with pytest.raises(BackendError, match="is for models of 24000 Hz, not 48000 Hz"):
            act()
