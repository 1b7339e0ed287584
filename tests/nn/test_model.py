"""The network's shapes, its reach in time, and its transforms against references."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.model.config import ModelConfig
from codec.model.receptive_field import decoder_reach, encoder_reach
from codec.nn.frontend import POWER_FLOOR, FrontEnd, frames
from codec.nn.heads import noise_keys, noise_signs
from codec.nn.heads.base import band_matrix, overlap_add
from codec.nn.model import CodecModel
from tests.helpers.nn_models import MODEL
from tests.helpers.torch_signals import noise

CONFIGS = {
    "stacked": MODEL,
    "look-ahead in both": dataclasses.replace(MODEL, encoder_lookahead=1, decoder_lookahead=1),
    "one rate": dataclasses.replace(
        MODEL, hop_length=240, encoder_stack=1, encoder_lookahead=1, decoder_lookahead=0
    ),
    "long windows": dataclasses.replace(MODEL, long_fft=960, synthesis_fft=480, head="mag_phase"),
}


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> CodecModel:
    torch.manual_seed(0)
    return CodecModel(CONFIGS[request.param]).eval()


@torch.no_grad()
def test_lengths(model: CodecModel):
    config = model.config
    for n in (1, 2, 5):
        latents = model.encoder(noise(2, n * config.hop_length))
        assert latents.shape == (2, n, config.latent_dim)
        assert model.decoder(latents).shape == (2, n * config.hop_length)


@given(st.integers(1, 24_000))
def test_frames_are_the_ceiling(samples):
    for config in CONFIGS.values():
        frames = config.n_frames(samples)
        assert (frames - 1) * config.hop_length < samples <= frames * config.hop_length


@torch.no_grad()
def test_latency_is_what_the_config_says(model: CodecModel):
    """Change all samples from the k-th on, for every k of one frame: the earliest output that
    changes was waiting for sample k. With boxes for windows, whose last samples count too."""
    config = model.config
    for window in (model.encoder.front.long_window, model.encoder.front.short_window):
        window.fill_(1)
    model.decoder.head.window.fill_(1)
    hop = config.hop_length
    first = 3 * hop
    total = 5 * hop
    audio = noise(1, total).repeat(hop, 1)  # of one shape with the other, so of the same bits
    changed = audio.clone()
    for row in range(hop):
        changed[row, first + row :] += 3
    before = model.decoder(model.encoder(audio))
    after = model.decoder(model.encoder(changed))
    moved = after != before
    earliest = moved.int().argmax(1)
    assert moved.any(1).all()
    waited = first + torch.arange(hop) - earliest + 1
    assert int(waited.max()) == config.latency


@torch.no_grad()
def test_reach_of_the_encoder(model: CodecModel):
    left, right = encoder_reach(model.config)
    hop, total = model.config.hop_length, 30
    audio = noise(1, total * hop)
    centre = left + 2
    within = audio.clone()
    within[:, : (centre - left) * hop] = noise(1, (centre - left) * hop, seed=1)
    within[:, (centre + right + 1) * hop :] = 0
    assert torch.equal(model.encoder(audio)[:, centre], model.encoder(within)[:, centre])


@torch.no_grad()
def test_reach_of_the_decoder(model: CodecModel):
    left, right = decoder_reach(model.config)
    hop, total = model.config.hop_length, 30
    latents = noise(1, total, model.config.latent_dim)
    centre = left + 2
    within = latents.clone()
    within[:, : centre - left] = 1
    within[:, centre + right + 1 :] = -1
    kept = slice(centre * hop, (centre + 1) * hop)
    assert torch.equal(model.decoder(latents)[:, kept], model.decoder(within)[:, kept])


@torch.no_grad()
def test_codes_decode_to_what_was_quantised(model: CodecModel):
    config = model.config
    audio = noise(2, 5 * config.hop_length)
    model.quantiser.codebooks.normal_(0, 0.3)
    codes = model.encode(audio)
    assert codes.shape == (config.n_codebooks, 2, 5)
    assert torch.equal(model.encode(audio, 2), codes[:2])
    quantised = model.quantiser(model.encoder(audio)).latents
    torch.testing.assert_close(model.decode(codes), model.decoder(quantised, noise_keys(codes)))


def test_front_end_equals_torch_stft():
    config = MODEL
    front = FrontEnd(config)
    n = 6
    audio = noise(2, n * config.backbone_hop)
    raw = front.raw(audio)
    assert raw.shape == (2, n, front.size)

    def stft(size: int, hop: int) -> torch.Tensor:
        # Frame t is centred on the middle of its hop, torch.stft's on its start.
        padded = torch.nn.functional.pad(audio, (size // 2 - hop // 2, size))
        window = torch.hann_window(size)
        return torch.stft(padded, size, hop, window=window, center=False, return_complex=True)

    long = stft(config.long_fft, config.backbone_hop).transpose(1, 2)[:, :n]
    bins = config.long_fft // 2 + 1
    torch.testing.assert_close(raw[..., :bins], torch.log(long.abs().square() + POWER_FLOOR))
    short = stft(config.short_fft, config.short_fft // 2).transpose(1, 2)
    per_frame = config.backbone_hop // (config.short_fft // 2)
    short = torch.log(short.abs().square() + POWER_FLOOR)[:, : n * per_frame].reshape(2, n, -1)
    torch.testing.assert_close(raw[..., bins : bins + short.shape[2]], short, atol=1e-4, rtol=1e-4)
    low = long[..., 1 : config.phase_bins + 1]
    real, imaginary = raw[..., -2 * config.phase_bins :].chunk(2, -1)
    expected = low / (low.abs().square() + POWER_FLOOR).sqrt().sqrt()
    torch.testing.assert_close(torch.complex(real, imaginary), expected, atol=1e-4, rtol=1e-4)


def test_front_end_fits_mean_and_variance():
    front = FrontEnd(MODEL)
    audio = noise(8, 20 * MODEL.backbone_hop)
    front.fit(audio)
    features = front(audio).flatten(0, 1)
    torch.testing.assert_close(features.mean(0), torch.zeros(front.size), atol=1e-4, rtol=0)
    torch.testing.assert_close(features.std(0), torch.ones(front.size), atol=1e-3, rtol=0)


@given(st.sampled_from([(480, 240), (960, 240), (960, 480), (256, 64)]), st.integers(4, 9))
@settings(deadline=None)
def test_windows_add_up_to_the_signal(shape, n):
    size, hop = shape
    audio = noise(2, n * hop)
    sine = torch.sin(torch.pi * (torch.arange(size) + 0.5) / size)
    out = overlap_add(frames(audio, size, hop) * sine.square() * (2 * hop / size), hop)
    assert out.shape == audio.shape
    # where all windows that cover a sample are there
    inside = slice(size // 2, n * hop - size // 2)
    torch.testing.assert_close(out[:, inside], audio[:, inside])


@given(st.integers(4, 64), st.integers(65, 500))
def test_bands_share_every_bin(n_bands, n_bins):
    matrix = band_matrix(n_bands, n_bins, 24_000)
    assert (matrix >= 0).all()
    torch.testing.assert_close(matrix.sum(0), torch.ones(n_bins))


def test_config_survives_json():
    for config in CONFIGS.values():
        assert ModelConfig.from_json(config.to_json()) == config


def test_signs_are_noise_above_their_edge_and_the_same_for_the_same_codes():
    codes = torch.randint(1024, (4, 1, 500), generator=torch.Generator().manual_seed(0))
    keys = noise_keys(codes)
    signs = noise_signs(keys[0], 201, 80)
    assert torch.equal(signs, noise_signs(noise_keys(codes.clone())[0], 201, 80))
    assert (signs[:, :80] == 1).all()
    noise = signs[:, 80:]
    assert set(noise.unique().tolist()) == {-1.0, 1.0}
    # 500 x 121 fair signs: means, of products with neighbours too, within 5 standard deviations
    bound = 5 / noise.numel() ** 0.5
    for sample in (noise, noise[1:] * noise[:-1], noise[:, 1:] * noise[:, :-1]):
        assert abs(float(sample.mean())) < 1.01 * bound


def test_noise_signs_are_pinned():
    # by the definition, in Python's integers
    def sign(seed: int, k: int) -> int:
        h = (seed * 0x9E3779B1 + k) % 2**32
        for shift, factor in ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB)):
            h = (h ^ h >> shift) * factor % 2**32
        return -1 if (h ^ h >> 14) & 1 else 1

    seeds = [0, 1, 2**31, 2**32 - 1]
    expected = [[sign(seed, k) for k in range(9)] for seed in seeds]
    assert noise_signs(torch.tensor(seeds), 9, 0).tolist() == expected
    key = 0x811C9DC5
    for code in (3, 1023, 0):
        key = (key ^ code) * 0x01000193 % 2**32
    assert noise_keys(torch.tensor([[3], [1023], [0]])).tolist() == [key]
