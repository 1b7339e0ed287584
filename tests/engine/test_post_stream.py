"""The postfilter and the enhancer of streams: the samples of the whole, for any pieces, in any
process."""

from __future__ import annotations

import dataclasses
import itertools
import math
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import codec
from bench.random_weights import SMALL, STEREO, VARIANTS, signal, uneven, write_weights
from codec.engine.post import Post
from codec.errors import BackendError, ModelError, StateError
from codec.model.latent_scale import SUFFIX, LatentScale
from tests.helpers.enhancers import TINY, enhancer_file, write_enhancer
from tests.helpers.postfiltered import RATE, voice

engine = pytest.importorskip("codec.engine._engine", reason="needs the native engine")

MODELS = VARIANTS | {
    "uneven": uneven(SMALL),
    "stereo": dataclasses.replace(SMALL, channels=2),
}
KINDS = ("postfilter", "enhance")
# What is odd about an enhancer's frames: overlap, look-ahead, a network without memory.
ENHANCERS = {
    "tiny": TINY,
    "ahead": dataclasses.replace(TINY, hop=120, blocks=3, lookahead=3),
    "blind": dataclasses.replace(TINY, fft=480, hop=120, wide=241, narrow=0, lookahead=0),
    "lone": dataclasses.replace(TINY, fft=1920, hop=480, blocks=0, lookahead=0, kernel_size=1),
}


class Case:
    """A model with everything that may follow its decoder, one of which is wanted."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.model, self.kind = path, codec.load(path), kind
        name = "enhancer" if kind == "enhance" else "postfilter"
        post = self.model.pipeline.improvement(name)
        assert post
        self.post: Post = post

    def stream(self, latents: bool = False) -> Any:
        make: Any = self.model.stream_decoder
        return make(latents=latents, **{self.kind: True})

    def tokens(self, frames: int) -> codec.Tokens:
        audio = signal(self.model.config, frames * self.model.config.hop_length, seed=frames)
        return self.model.encode(audio, RATE)

    def expected(self, tokens: codec.Tokens) -> np.ndarray:
        """What a stream must give: [samples], or [2, samples] of two channels together."""
        audio = self.model.decode(tokens, **{self.kind: True})
        return audio if self.model.config.channels == 2 else audio[0]

    def whole(self, audio: np.ndarray) -> np.ndarray:
        """Improve [samples], or [2, samples], at once."""
        hops = -(-audio.shape[-1] // self.post.hop)
        planes = [self.post.run(one, 0, hops) for one in np.atleast_2d(audio)]
        return np.stack(planes).reshape(audio.shape)


@pytest.fixture(scope="module", params=itertools.product(MODELS, KINDS), ids="-".join)
def case(request, tmp_path_factory):
    name, kind = request.param
    config = MODELS[name]
    path = write_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", config)
    model_id = codec.load(path).model_id
    write_enhancer(path, model_id)
    ones = np.ones(config.latent_dim, np.float32)
    LatentScale(ones, 2 * ones).save(path.with_suffix(SUFFIX), model_id)
    return Case(path, kind)


def pieces(x: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    """Cut x along its last axis."""
    return np.split(x, sorted(cut % (x.shape[-1] + 1) for cut in cuts), axis=-1)


def streamed(stream: Any, parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([*map(stream.push, parts), stream.flush()], axis=-1)


CUTS = st.lists(st.integers(0, 2**20), max_size=8)


def agrees_with_the_whole(
    run: Any, whole: np.ndarray, audio: np.ndarray, cuts: list[int], hop: int, ahead: int
) -> None:
    state = np.empty(run.state_size, np.int64)
    run.reset(state)
    given, found = 0, []
    *parts, last = pieces(audio, cuts)
    for part in parts:
        given += len(part)
        found.append(run.push(state, part))
        # as much as is certain, and no more
        assert sum(map(len, found)) == max(0, given // hop - ahead) * hop
        assert run.valid(state[None])
    found.append(run.push(state, last, last=True))
    assert np.array_equal(np.concatenate(found), whole)
    # and the state is that of a new stream
    again = run.push(state, audio, last=True)
    assert np.array_equal(again, whole)


@settings(max_examples=60, deadline=None)
@given(samples=st.integers(1, 20_000), cuts=CUTS)
def test_audio_is_filtered_in_any_pieces(samples, cuts):
    audio = voice(samples, 0.1)
    hop, (_, ahead) = engine.POSTFILTER_HOP, engine.POSTFILTER_REACH
    whole = engine.postfilter(audio, 0, -(-samples // hop))
    agrees_with_the_whole(engine.PostfilterStream(), whole, audio, cuts, hop, ahead)


@pytest.mark.parametrize("name", ENHANCERS)
@settings(max_examples=25, deadline=None)
@given(samples=st.integers(1, 20_000), cuts=CUTS)
@example(samples=1, cuts=[])
@example(samples=2 * 512 * 240 + 7, cuts=[])  # more than is enhanced at once
def test_audio_is_enhanced_in_any_pieces(name, samples, cuts):
    run = engine.Enhancer(enhancer_file(ENHANCERS[name]))
    audio = voice(samples, 0.1)
    whole = run(audio, 0, -(-samples // run.hop))
    agrees_with_the_whole(run, whole, audio, cuts, run.hop, run.reach[1])


@pytest.mark.parametrize("run", [engine.PostfilterStream(), engine.Enhancer(enhancer_file(TINY))])
def test_a_stream_without_samples_is_empty(run):
    state = np.empty(run.state_size, np.int64)
    run.reset(state)
    nothing = np.zeros(0, np.float32)
    assert len(run.push(state, nothing)) == 0
    assert len(run.push(state, nothing, last=True)) == 0
    with pytest.raises(ValueError, match="not a state of"):
        run.reset(state[1:])


@settings(max_examples=12, deadline=None)
@given(frames=st.integers(1, 40), cuts=CUTS)
def test_codes_and_latents_in_any_pieces(case, frames, cuts):
    tokens, model = case.tokens(frames), case.model
    expected = case.expected(tokens)
    decoder = case.stream()
    assert np.array_equal(streamed(decoder, pieces(tokens.codes[0], cuts)), expected)
    with pytest.raises(StateError, match="ended"):
        decoder.flush()
    decoder.reset()
    assert np.array_equal(streamed(decoder, [tokens.codes[0]]), expected)

    latents = model.encode_latents(signal(model.config, frames * 960), RATE)[0]
    plain = streamed(model.stream_decoder(latents=True), [latents])
    found = streamed(case.stream(latents=True), pieces(latents, cuts))
    assert np.array_equal(found, case.whole(plain))


def test_a_stream_is_improved(case):
    codes = case.tokens(60).codes[0]
    plain = streamed(case.model.stream_decoder(), [codes])
    improved = streamed(case.stream(), [codes])
    assert plain.shape == improved.shape
    assert not np.array_equal(plain, improved)


def test_what_waits_is_what_the_latency_says(case):
    decoder, plain = case.stream(), case.model.stream_decoder()
    codes, hop = case.tokens(30).codes[0], case.model.config.hop_length
    waits, out = [], 0
    for frame in range(codes.shape[1]):
        out += decoder.push(codes[:, frame : frame + 1]).shape[-1]
        if out:
            waits.append((frame + 1) * hop - out)
    assert max(waits) == decoder.latency
    assert decoder.latency >= plain.latency + case.post.reach.after * case.post.hop
    if math.gcd(hop, case.post.hop) == case.post.hop:
        assert set(waits) == {decoder.latency}


@settings(max_examples=8, deadline=None)
@given(cut=st.integers(0, 20), data=st.data())
def test_a_restored_stream_goes_on(case, cut, data):
    tokens = case.tokens(20)
    codes, decoder, other = tokens.codes[0], case.stream(), case.stream()
    other.push(codes[:, :7])
    begin = decoder.push(codes[:, :cut])
    other.restore(decoder.save())
    copied = pickle.loads(pickle.dumps(decoder))
    assert copied.latency == decoder.latency
    for stream in (decoder, other, copied):
        rest = streamed(stream, pieces(codes[:, cut:], data.draw(CUTS)))
        found = np.concatenate([begin, rest], axis=-1)
        assert np.array_equal(found, case.expected(tokens))
    other.restore(decoder.save())
    with pytest.raises(StateError, match="ended"):
        other.push(codes)


def test_a_copy_of_a_stream_of_latents_is_improved_too(case):
    latents = case.model.encode_latents(signal(case.model.config, 9600), RATE)[0]
    stream = case.stream(latents=True)
    begin = stream.push(latents[:, :4])
    copied = pickle.loads(pickle.dumps(stream))
    rest = [streamed(one, [latents[:, 4:]]) for one in (stream, copied)]
    assert np.array_equal(*rest)
    length = latents.shape[1] * case.model.config.hop_length
    assert (begin.shape[-1] + rest[0].shape[-1]) == length


def test_states_of_each_kind_of_stream_are_their_own(case):
    streams = [
        case.model.stream_decoder(latents=latents, **kind)
        for latents, kind in itertools.product(
            (False, True), ({}, {"postfilter": True}, {"enhance": True})
        )
    ]
    for one, other in itertools.permutations(streams, 2):
        before = one.save()
        with pytest.raises(StateError, match="not a saved state of this kind of stream"):
            one.restore(other.save())
        assert one.save() == before


@pytest.mark.parametrize("case", [("small", "enhance")], indirect=True)
def test_a_state_belongs_to_one_enhancer(case):
    path = case.path.with_suffix(".enhancer")
    stream, before = case.stream(), path.read_bytes()
    copy = pickle.dumps(stream)
    try:
        path.write_bytes(enhancer_file(TINY, case.model.model_id, seed=1))
        other = codec.load(case.path).stream_decoder(enhance=True)
        with pytest.raises(StateError, match="of another model"):
            other.restore(stream.save())
        with pytest.raises(ModelError, match="an enhancer whose weights are now others"):
            pickle.loads(copy)
    finally:
        path.write_bytes(before)


def forged_state(
    good: bytes, size: int, channels: int, integers: int, values: dict[int, int]
) -> bytes:
    """Change integers of all channels' states, `size` bytes each, and the samples behind them."""
    forged = bytearray(good)
    for channel in range(channels):
        at = len(good) - (channels - channel) * size
        floats = at + 8 * integers
        forged[floats : at + size] = np.random.default_rng(0).bytes(at + size - floats)
        for field, value in values.items():
            struct.pack_into("<q", forged, at + 8 * field, value)
    struct.pack_into("<I", forged, 14, zlib.crc32(forged[18:]))
    return bytes(forged)


def test_a_forged_state_is_safe(case):
    """Whatever the integers of a channel are, and its samples: refused, or within bounds."""
    stream, channels = case.stream(), case.model.config.channels
    codes, size = case.tokens(3).codes[0], case.post.stream.state_size * 8
    good = stream.save()
    integers = 2 if case.kind == "postfilter" else 3 + TINY.blocks
    refused = 0
    # a state of the enhancer that holds less than it must
    none = {0: 0, 1: 0, 2: -720} if case.kind == "enhance" else {0: -1, 1: -1}
    with pytest.raises(StateError, match="damaged"):
        stream.restore(forged_state(good, size, channels, integers, none))
    for field, value in itertools.product(
        range(integers),
        (-1, 0, 1, 3, 4, 6, 7, 600, 1319, 1320, 2640, 3119, 3120, 2**31, 2**63 - 1, -(2**63)),
    ):
        try:
            stream.restore(forged_state(good, size, channels, integers, {field: value}))
        except StateError:
            refused += 1
            continue
        assert streamed(stream, [codes]).shape[-1] < 10_000
    assert refused >= 10 * integers


def test_a_model_of_another_rate_is_refused(tmp_path):
    model = codec.load(write_weights(tmp_path / "w.safetensors", STEREO))
    for act in (
        lambda: model.stream_decoder(postfilter=True),
        lambda: model.stream_decoder(postfilter=True, latents=True, normalized=False),
    ):
        with pytest.raises(BackendError, match="is for models of 24000 Hz, not 48000 Hz"):
            act()
    with pytest.raises(ModelError, match=r"w\.enhancer is missing"):
        model.stream_decoder(enhance=True)
