"""Latents have the same bits whole, in spans and streamed, on every instruction set."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import codec
from bench.random_weights import SMALL, VARIANTS, noise, write_weights
from codec.model.latent_scale import SUFFIX, LatentScale, load_latent_scale

pytest.importorskip("codec.engine._engine", reason="needs the native engine")

from codec.engine.native import NativeBackend, isas

RATE = SMALL.sample_rate


@pytest.fixture(scope="module", params=VARIANTS)
def model(request, tmp_path_factory):
    config = VARIANTS[request.param]
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    write_weights(path, config)
    rng = np.random.default_rng(1)
    scale = LatentScale(
        rng.standard_normal(config.latent_dim).astype(np.float32),
        rng.uniform(0.5, 3, config.latent_dim).astype(np.float32),
    )
    made = codec.load(path)
    scale.save(path.with_suffix(SUFFIX), made.model_id)
    return made


def test_codes_are_the_quantised_latents(model):
    audio = noise(9_001)
    latents = model.encode_latents(audio, RATE, normalized=False)
    tokens = model.encode(audio, RATE)
    assert latents.dtype == np.float32
    assert latents.shape == (1, model.config.latent_dim, tokens.n_frames)
    books = model.backend._weights.codebooks
    distance = ((latents[0].T[:, None] - books[0]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(distance.argmin(axis=1), tokens.codes[0, 0])


@given(data=st.data())
def test_a_stream_gives_the_bits_of_the_whole(model, data):
    audio = noise(data.draw(st.integers(1, 9_000)), seed=data.draw(st.integers(0, 9)))
    whole = model.encode_latents(audio, RATE)[0]
    encoder = model.stream_encoder(latents=True)
    decoder = model.stream_decoder(latents=True)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(audio)), max_size=5)))
    pieces = np.split(audio, cuts)
    if data.draw(st.booleans()):
        encoder = pickle.loads(pickle.dumps(encoder))
    found = [*(encoder.push(piece) for piece in pieces), encoder.flush()]
    np.testing.assert_array_equal(np.concatenate(found, axis=1), whole)
    samples = [decoder.push(latents) for latents in found]
    decoder.restore(decoder.save())
    played = np.concatenate([*samples, decoder.flush()])
    np.testing.assert_array_equal(played, model.decode_latents(whole)[0])


def test_spans_and_channels_change_no_bit(model):
    hop = model.config.hop_length
    audio = np.stack([noise(500 * hop, seed=1), noise(500 * hop, seed=2)])
    both = model.encode_latents(audio, RATE, threads=3)
    played = model.decode_latents(both, threads=3)
    for channel in range(2):
        alone = model.encode_latents(audio[channel], RATE)
        np.testing.assert_array_equal(both[channel], alone[0])
        np.testing.assert_array_equal(played[channel], model.decode_latents(alone)[0])


def test_instruction_sets_agree(model):
    audio = noise(20_000)
    expected = model.encode_latents(audio, RATE, normalized=False)
    sound = model.decode_latents(expected, normalized=False)
    for isa in isas():
        backend = NativeBackend(model._weights, isa, block=7)
        other = codec.load(backend=backend)
        np.testing.assert_array_equal(other.encode_latents(audio, RATE, normalized=False), expected)
        np.testing.assert_array_equal(other.decode_latents(expected, normalized=False), sound)


def test_the_scale_is_that_of_the_file(model):
    scale = load_latent_scale(model._weights, model.model_id, model.config.latent_dim)
    audio = noise(9_000)
    raw = model.encode_latents(audio, RATE, normalized=False)[0]
    scaled = model.encode_latents(audio, RATE)[0]
    np.testing.assert_array_equal(scaled, (raw - scale.mean[:, None]) / scale.deviation[:, None])
    np.testing.assert_allclose(scale.restore(scaled), raw, atol=1e-5)


def test_rates_and_lengths(model):
    hop = model.config.hop_length
    audio = noise(30 * hop // 2)
    latents = model.encode_latents(audio, RATE // 2)
    assert latents.shape[2] == 30
    back = model.decode_latents(latents, sample_rate=RATE // 2, n_samples=len(audio) - 3)
    assert back.shape == (1, len(audio) - 3)
    assert model.decode_latents(latents.astype(np.float16)).shape == (1, 30 * hop)
    with pytest.raises(codec.TokensError, match="30 frames hold 1 to"):
        model.decode_latents(latents, n_samples=30 * hop + 1)


def test_tensors_of_torch(model):
    torch = pytest.importorskip("torch")
    latents = model.encode_latents(noise(5_000), RATE)
    half = torch.tensor(latents).bfloat16()
    np.testing.assert_array_equal(
        model.decode_latents(half), model.decode_latents(half.float().numpy())
    )


@pytest.mark.parametrize(
    ("latents", "said"),
    [
        ("text", "array of floats"),
        (np.zeros((20, 3), np.int64), "must be floats"),
        (np.zeros((19, 3)), r"must be \[20, frames\]"),
        (np.zeros(20), r"must be \[20, frames\]"),
        (np.zeros((0, 20, 3)), r"must be \[20, frames\]"),
        (np.zeros((20, 0)), "0 frames"),
        (np.full((20, 3), np.nan), "finite"),
        (np.full((20, 3), 1e38), "finite"),
        (np.full((20, 3), 1e30), "within ±1e30 when the model's scale is undone"),
    ],
)
def test_a_mistake_is_an_error_of_one_line(model, latents, said):
    with pytest.raises(codec.TokensError, match=said):
        model.decode_latents(latents)


def test_the_largest_latents_decode_without_a_scale(model):
    largest = np.full((20, 3), 1e30, np.float32)
    model.decode_latents(largest, normalized=False)
    with pytest.raises(codec.TokensError, match="scale is undone"):
        model.stream_decoder(latents=True).push(largest)


def test_a_scale_that_is_missing_damaged_or_of_another_model(tmp_path):
    path = write_weights(tmp_path / "w.safetensors", SMALL)
    model = codec.load(path)
    side = path.with_suffix(SUFFIX)
    with pytest.raises(codec.ModelError, match="fit-latents"):
        model.encode_latents(noise(100), RATE)
    ones = np.ones(SMALL.latent_dim, np.float32)
    LatentScale(ones, ones).save(side, bytes(8))
    with pytest.raises(codec.ModelError, match="is of model"):
        model.stream_encoder(latents=True)
    LatentScale(ones, 0 * ones).save(side, model.model_id, overwrite=True)
    with pytest.raises(codec.ModelError, match="above 0"):
        model.stream_decoder(latents=True)
    side.write_bytes(b"no")
    with pytest.raises(codec.ModelError, match="damaged"):
        model.decode_latents(np.zeros((20, 1)))
    with pytest.raises(codec.BitrateError):
        model.stream_encoder(latents=True, n_codebooks=2)  # type: ignore[call-overload]


def test_another_backend_has_no_latents(small):
    with pytest.raises(codec.BackendError, match="does not code audio while it arrives"):
        small.encode_latents(noise(100), 24_000, normalized=False)


def test_the_command_fits_mean_and_deviation(tmp_path, cli_of_weights):
    import soundfile

    path = write_weights(tmp_path / "w.safetensors", SMALL)
    folder = tmp_path / "in"
    folder.mkdir()
    clips = [0.1 * noise(30_000, seed=seed) for seed in range(3)]
    for number, clip in enumerate(clips):
        soundfile.write(folder / f"{number}.wav", clip, RATE, "FLOAT")
    code, out, _ = cli_of_weights("fit-latents", folder, "--model", path)
    assert code == 0
    assert b"hours of audio" in out
    model = codec.load(path)
    latents = [model.encode_latents(clip, RATE)[0] for clip in clips]
    values = np.concatenate(latents, axis=1)
    np.testing.assert_allclose(values.mean(axis=1), 0, atol=1e-3)
    np.testing.assert_allclose(values.std(axis=1), 1, atol=1e-3)
    assert cli_of_weights("fit-latents", folder, "--model", path)[0] == 1  # it exists
