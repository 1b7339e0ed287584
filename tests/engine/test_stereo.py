"""Two channels coded together by the engine: 48 kHz, mid and side in one latent."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from bench.random_weights import SMALL, STEREO, signal, write_weights
from codec.engine.pairs import paired, unpaired
from codec.errors import AudioError, ModelError, StateError
from codec.model.config import ModelConfig
from codec.model.identity import same_tokens
from codec.model.limits import count_streams

pytest.importorskip("codec.engine._engine", reason="needs the native engine")
from codec.engine.native import NativeBackend, isas
from codec.engine.stream import StreamDecoder, StreamEncoder

HOP = STEREO.hop_length


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("stereo") / "w.safetensors", STEREO)


@pytest.fixture(scope="module")
def backend(path: Path) -> NativeBackend:
    return NativeBackend(path)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 24_000), data=st.data())
def test_a_stream_gives_the_bits_of_the_whole(
    path: Path, backend: NativeBackend, n: int, data: st.DataObject
) -> None:
    audio = signal(STEREO, n, seed=n % 7)
    codes = backend.encode(audio, 3)
    assert codes.shape == (3, -(-n // HOP))
    decoded = backend.decode(codes)
    assert decoded.shape == (2, codes.shape[1] * HOP)
    # Half of the pieces run on another instruction set, from a state that was saved.
    others = NativeBackend(path, isas()[0], block=data.draw(st.integers(1, 9)))
    encoder, decoder = StreamEncoder(backend), StreamDecoder(backend)
    other_encoder, other_decoder = StreamEncoder(others), StreamDecoder(others)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    found, played = [], []
    for piece in np.split(audio, cuts, axis=1):
        found.append(encoder.push(piece))
        played.append(decoder.push(found[-1]))
        other_encoder.restore(encoder.save())
        other_decoder.restore(decoder.save())
        encoder, other_encoder = other_encoder, encoder
        decoder, other_decoder = other_decoder, decoder
    found.append(encoder.flush())
    played += [decoder.push(found[-1]), decoder.flush()]
    np.testing.assert_array_equal(np.concatenate(found, axis=1), codes)
    np.testing.assert_array_equal(np.concatenate(played, axis=1), decoded)


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 12_000), more=st.integers(1, 5000))
def test_the_codes_of_a_prefix_are_a_prefix(backend: NativeBackend, n: int, more: int) -> None:
    audio = signal(STEREO, n + more, seed=5)
    codes, prefix = backend.encode(audio, 3), backend.encode(audio[:, :n], 3)
    certain = max(0, (n - backend.encoder.lookahead) // HOP)
    np.testing.assert_array_equal(codes[:, :certain], prefix[:, :certain])
    np.testing.assert_array_equal(backend.encode(audio, 1), codes[:1])


def test_both_channels_reach_the_latents_and_the_audio(backend: NativeBackend) -> None:
    audio = signal(STEREO, 20 * HOP)
    latents = backend.encoder.latents(audio)
    for other in (audio[::-1], np.stack([audio[0], audio[0]]), np.stack([audio[1], audio[1]])):
        assert not np.array_equal(backend.encoder.latents(np.ascontiguousarray(other)), latents)
    left, right = backend.decode(backend.encode(audio, 3))
    assert not np.array_equal(left, right)


def test_mid_and_side_draw_signs_of_their_own(tmp_path: Path) -> None:
    """With the gains and shapes of the side equal to the mid's, only the signs tell them apart."""
    from safetensors.numpy import load_file, save_file

    config = dataclasses.replace(STEREO, noise_from=6000)
    path = write_weights(tmp_path / "w.safetensors", config)
    tensors = load_file(path)
    for name in ("gain", "shape"):
        for part in ("weight", "bias"):
            tensor = tensors[f"decoder.head.{name}.{part}"]
            tensor[len(tensor) // 2 :] = tensor[: len(tensor) // 2]
    save_file(tensors, path, metadata={"config": config.to_json()})
    backend = NativeBackend(path)
    rng = np.random.default_rng(0)
    codes = rng.integers(0, config.codebook_size, (3, 40)).astype(np.uint16)
    left, right = backend.decode(codes).astype(np.float64)
    # mid + side and mid - side: the right one is silent where both are equal.
    window = np.hanning(len(left))
    power = [np.square(np.abs(np.fft.rfft(window * x))) for x in (left, right)]
    hertz = np.fft.rfftfreq(len(left), 1 / config.sample_rate)
    low, high = hertz < 5500, hertz > 6500
    assert power[1][low].sum() < 1e-6 * power[0][low].sum()
    assert 0.5 < power[1][high].sum() / power[0][high].sum() < 2


def test_extremes_run(path: Path, backend: NativeBackend) -> None:
    for value in (0.0, 1.0, 3e38, 1e-42):
        audio = np.full((2, 5000), value, np.float32)
        codes = backend.encode(audio, 3)
        np.testing.assert_array_equal(NativeBackend(path, "scalar").encode(audio, 3), codes)
    nothing = backend.encode(np.empty((2, 0), np.float32), 3)
    assert nothing.shape == (3, 0)
    assert backend.decode(nothing).shape == (2, 0)


@pytest.mark.parametrize("shape", [(9,), (1, 9), (3, 9), (9, 2)])
def test_audio_of_other_shapes_is_refused(backend: NativeBackend, shape: Any) -> None:
    audio = np.zeros(shape, np.float32)
    with pytest.raises(AudioError, match=r"\[2, samples\]"):
        backend.encode(audio, 3)
    with pytest.raises(AudioError, match=r"\[2, samples\]"):
        StreamEncoder(backend).push(audio)


def test_states_of_other_models_are_refused(backend: NativeBackend, tmp_path: Path) -> None:
    mono = NativeBackend(write_weights(tmp_path / "mono.safetensors", SMALL))
    with pytest.raises(StateError):
        StreamEncoder(mono).restore(StreamEncoder(backend).save())


def test_the_number_of_channels_is_part_of_the_name(path: Path, tmp_path: Path) -> None:
    mono = write_weights(tmp_path / "m.safetensors", dataclasses.replace(STEREO, channels=1))
    assert not same_tokens(NativeBackend(path).model_id, NativeBackend(mono).model_id)


def test_a_configuration_without_channels_is_of_one() -> None:
    assert "channels" not in SMALL.to_json()
    assert ModelConfig.from_json(SMALL.to_json()) == SMALL
    assert ModelConfig.from_json(STEREO.to_json()) == STEREO


@pytest.mark.parametrize("channels", [0, 3, -1, True, 1.0, "2", None])
def test_other_numbers_of_channels_are_refused(channels: Any) -> None:
    with pytest.raises(ModelError, match="1 or 2 channels"):
        dataclasses.replace(STEREO, channels=channels)


@pytest.mark.parametrize(("channels", "streams"), [(1, 1), (2, 1), (3, 2), (6, 3)])
def test_pairs(channels: int, streams: int) -> None:
    audio = np.random.default_rng(channels).uniform(-1, 1, (channels, 50)).astype(np.float32)
    (block,) = paired([audio], 2)
    assert block.shape == (streams, 2, 50)
    assert count_streams(channels, 2) == streams
    np.testing.assert_array_equal(block.reshape(-1, 50)[:channels], audio)
    (back,) = unpaired([block], channels, 2)
    np.testing.assert_array_equal(back, audio)
    (same,) = paired([audio], 1)
    assert same is audio


def test_a_lone_channel_is_a_mid_without_a_side(backend: NativeBackend) -> None:
    """Its codes are those of the pair of itself, and what comes back is the mean of the pair."""
    audio = signal(SMALL, 9000)
    (block,) = paired([audio[None]], 2)
    decoded = backend.decode(backend.encode(np.ascontiguousarray(block[0]), 3))
    (mean,) = unpaired([decoded[None]], 1, 2)
    assert mean.shape == (1, decoded.shape[1])
    middle = decoded.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(mean[0], middle, atol=1e-6 * np.abs(decoded).max())


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_postfilter_hears_whole_pairs_however_they_are_decoded(
    tmp_path: Path, channels: int
) -> None:
    config = dataclasses.replace(STEREO, sample_rate=24_000)
    model = codec.load(write_weights(tmp_path / "w.safetensors", config))
    rng = np.random.default_rng(channels)
    audio = rng.normal(0, 0.2, (channels, 24_000)).astype(np.float32)
    tokens = model.encode(audio, 24_000)
    whole = model.decode(tokens, postfilter=True)
    data = model.compress(audio, 24_000)
    part, _ = model.decompress(data, start=0.31, duration=0.4, postfilter=True)
    assert np.array_equal(part, whole[:, 7440:17_040])
    streams = []
    for codes in tokens.codes:
        decoder = model.stream_decoder(postfilter=True)
        streams.append(np.concatenate([decoder.push(codes), decoder.flush()], axis=1))
    (streamed,) = unpaired([np.stack(streams)], channels, 2)
    assert np.array_equal(whole, streamed[:, : whole.shape[1]])
