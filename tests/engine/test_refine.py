"""Analysis by synthesis: its derivative is autograd's, its codes have the same bits everywhere, and
what they decode to is closer to the original."""

from __future__ import annotations

import _thread
import dataclasses
import itertools
import signal
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bench import random_weights
from bench.random_weights import STEREO, VARIANTS, write_weights
from codec.audio.reader import read_audio
from codec.model.location import weights_path
from codec.model.weights_file import WeightsFile

_engine = pytest.importorskip("codec.engine._engine", reason="needs the native engine")

CLIPS = Path(__file__).parents[1] / "clips"


def packed(half, weights: WeightsFile, isa: str | None = None):
    with weights.mapped() as data:
        return half(data, weights.config.to_json().encode(), weights.codebooks, isa)


def refiner(weights: WeightsFile, isa: str | None = None):
    return packed(_engine.Refiner, weights, isa)


def case(weights: WeightsFile, frames: int, seed: int = 0):
    """Audio and its latents."""
    audio = random_weights.signal(weights.config, frames * weights.config.hop_length, seed)
    return audio, packed(_engine.Encoder, weights).latents(audio)


MODELS = VARIANTS | {"two channels": STEREO}


@pytest.fixture(scope="module", params=MODELS)
def weights(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    write_weights(path, MODELS[request.param])
    return WeightsFile(path)


@pytest.fixture(scope="module")
def shipped():
    return WeightsFile(weights_path("default"))


def objective(audio, decoded, config, levels):
    """What csrc/engine/refine.h says is minimised, but for the commitment, in float64."""
    torch = pytest.importorskip("torch", reason="needs torch")
    from codec.nn.heads.base import band_matrix
    from codec.training.losses.loudness import LoudnessLoss, bark_bands, hearing_threshold

    rate, hop = config.sample_rate, config.backbone_hop
    audio, decoded = audio.double(), decoded.double()

    def spectra(x, n, step):
        return torch.fft.rfft(x.unfold(0, n, step) * torch.hann_window(n, dtype=x.dtype))

    def power(z):
        return z.real.square() + z.imag.square()

    loud = max(float(audio.square().mean().sqrt()), 1e-3)
    depth = levels / config.n_codebooks
    total = torch.zeros(())
    for n, bands, is_complex in ((2 * hop, 80, True), (hop, 64, True), (hop // 2, 40, False)):
        x, y = (spectra(signal, n, n // 4) for signal in (audio, decoded))
        matrix = band_matrix(bands, n // 2 + 1, rate).T.double()
        floor = n * 3 / 8 * 1e-7
        mel_x, mel_y = (torch.log((power(z) + floor) @ matrix + 1e-9) for z in (x, y))
        total = total + 0.5 * (mel_x - mel_y).abs().mean() / 3
        if not is_complex:
            continue
        x, y = (z / (loud * n**0.5) for z in (x, y))
        x, y = (z * (power(z) + 1e-4) ** -0.25 for z in (x, y))
        hertz = torch.arange(n // 2 + 1, dtype=torch.float64) * rate / n
        edge = config.noise_from or 4000
        weight = torch.exp(4 * (edge - hertz) / edge).clamp(max=1)
        weight = weight / weight.mean()
        phase = (power(x - y) * weight).mean() / ((power(x) * weight).mean() + 1e-6)
        sizes = [(power(z) + 1e-8).sqrt() for z in (x, y)]
        magnitude = (sizes[0] - sizes[1]).square().mean() / (power(x).mean() + 1e-6)
        total = total + (depth**2 * phase + 2 * magnitude) / 2

    class Loudness(LoudnessLoss):
        """Of windows of two hops, without a reflection at the ends."""

        def powers(self, x):
            return (power(spectra(x[0], 2 * hop, hop)) @ self.bands)[None]

    loudness = Loudness(rate).double()
    shares, centres = bark_bands(49, 2 * hop, rate)
    loudness.bands, loudness.threshold = shares.double(), hearing_threshold(centres).double()
    loudness.n_fft = 2 * hop
    return total + 0.2 * loudness(audio[None], decoded[None])


def test_the_derivative_is_that_of_autograd(weights):
    torch = pytest.importorskip("torch", reason="needs torch")
    from codec.nn.backend import read_model
    from codec.nn.heads import noise_keys

    config, frames, levels = weights.config, 7, 2
    audio, latents = case(weights, frames)
    engine, model = refiner(weights), read_model(weights).double()
    codes = engine.refine(audio, latents, levels, 0)
    difference, gradient = engine.difference(audio, latents, codes)

    wide = torch.from_numpy(codes.astype(np.int64))[:, None]
    quantised = model.quantiser.decode(wide).requires_grad_()
    x = model.decoder.embed(quantised)
    rows = frames * model.decoder.stack
    x = model.decoder.backbone(x.reshape(1, rows, -1))
    decoded = model.decoder.head(x, noise_keys(wide)).reshape(config.channels, -1)
    ears = zip(torch.from_numpy(audio).reshape(config.channels, -1), decoded, strict=True)
    expected = sum(objective(*ear, config, levels) for ear in ears) / config.channels
    expected.backward()
    assert quantised.grad is not None
    reference = quantised.grad[0].numpy()
    assert difference == pytest.approx(expected.item(), rel=1e-6)
    error = np.linalg.norm(gradient - reference) / np.linalg.norm(reference)
    assert error < 1e-5


@pytest.mark.parametrize("beam", [1, 5])
def test_no_step_searches_as_the_encoder_does(weights, beam):
    audio, latents = case(weights, 9)
    found = refiner(weights).refine(audio, latents, 3, 0, beam)
    encoder = packed(_engine.Encoder, weights)
    state = np.empty(encoder.state_size, np.int64)
    encoder.reset(state)
    expected = [encoder.push(state, audio, 3, beam), encoder.flush(state, 3, beam)]
    np.testing.assert_array_equal(found, np.concatenate(expected, axis=1))


@pytest.mark.parametrize("beam", [1, 3])
def test_every_instruction_set_finds_the_same_bits(weights, beam):
    audio, latents = case(weights, 11, seed=3)
    results = []
    for isa in _engine.isas():
        engine = refiner(weights, isa)
        codes = engine.refine(audio, latents, 2, 4, beam)
        results.append((codes, *engine.difference(audio, latents, codes)))
    for codes, difference, gradient in results[1:]:
        np.testing.assert_array_equal(codes, results[0][0])
        assert difference == results[0][1]
        np.testing.assert_array_equal(gradient.view(np.uint32), results[0][2].view(np.uint32))


@pytest.mark.parametrize("clip", ["speech.flac", "strings.flac"])
@pytest.mark.parametrize("levels", [2, 12])
def test_what_is_decoded_comes_closer_to_a_recording(shipped, clip, levels):
    audio, rate = read_audio(CLIPS / clip)
    assert rate == shipped.config.sample_rate
    audio = np.ascontiguousarray(audio[0, : 40 * shipped.config.hop_length])
    engine, latents = refiner(shipped), packed(_engine.Encoder, shipped).latents(audio)
    differences = [
        engine.difference(audio, latents, engine.refine(audio, latents, levels, steps))[0]
        for steps in (0, 1, 20)
    ]
    assert differences[1] <= differences[0]
    assert differences[2] < 0.95 * differences[0]


@pytest.mark.parametrize("frames", [1, 2])
def test_audio_shorter_than_every_resolution_is_refined(weights, frames):
    audio, latents = case(weights, frames)
    codes = refiner(weights).refine(audio, latents, 1, 2)
    assert codes.shape == (1, frames)
    assert codes.max() < weights.config.codebook_size


def test_silence_stays_what_it_is(shipped):
    hop, dim = shipped.config.hop_length, shipped.config.latent_dim
    silence, latents = np.zeros(5 * hop, np.float32), np.zeros((5, dim), np.float32)
    engine = refiner(shipped)
    codes = engine.refine(silence, latents, 3, 3)
    difference, gradient = engine.difference(silence, latents, codes)
    assert np.isfinite(difference)
    assert np.isfinite(gradient).all()


def test_sizes_that_do_not_fit_are_refused(weights):
    audio, latents = case(weights, 3)
    engine = refiner(weights)
    for arguments in (
        (audio[..., :-1], latents, 1, 1),
        (audio, latents[:, :-1].copy(), 1, 1),
        (audio, latents, 0, 1),
        (audio, latents, weights.config.n_codebooks + 1, 1),
        (audio[..., :0], latents[:0], 1, 1),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            engine.refine(*arguments)
    for beam in (0, 65):
        with pytest.raises(ValueError, match="paths"):
            engine.refine(audio, latents, 1, 1, beam)
    with pytest.raises(ValueError, match="the codes are not"):
        engine.difference(audio, latents, np.full((1, 3), weights.config.codebook_size, np.uint16))


def test_two_channels_are_two_rows(tmp_path):
    write_weights(tmp_path / "w.safetensors", STEREO)
    weights = WeightsFile(tmp_path / "w.safetensors")
    audio, latents = case(weights, 3)
    for wrong in (audio[0], audio[:1], np.concatenate([audio, audio]), audio.T):
        with pytest.raises(ValueError, match=r"not \[2, samples\]"):
            refiner(weights).refine(wrong, latents, 1, 1)


def test_the_difference_is_the_mean_of_what_each_ear_hears(tmp_path):
    """So what each original adds does not depend on the other: a sum over both ears of both
    originals may be taken in pairs of equal ones, or of unequal ones."""
    write_weights(tmp_path / "w.safetensors", STEREO)
    weights = WeightsFile(tmp_path / "w.safetensors")
    audio, latents = case(weights, 5)
    engine = refiner(weights)
    codes = engine.refine(audio, latents, 2, 0)
    one, other = (
        engine.difference(np.stack([audio[i], audio[i]]), latents, codes)[0] for i in (0, 1)
    )
    both, by_latents = engine.difference(audio, latents, codes)
    exchanged = engine.difference(audio[::-1], latents, codes)
    assert both != exchanged[0]
    assert np.isfinite(by_latents).all()
    assert one + other == pytest.approx(both + exchanged[0], rel=1e-6)


@pytest.mark.parametrize("beam", [1, 3])
def test_two_equal_channels_are_refined_as_one_is(tmp_path, beam):
    """By a model whose side is nothing, to the bit: halves and sums of equal halves are exact."""
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    tensors = random_weights.random_weights(FINE)
    save_file(tensors, one, metadata={"config": FINE.to_json()})
    config = dataclasses.replace(FINE, channels=2)
    save_file(with_silent_side(tensors), two, metadata={"config": config.to_json()})
    audio, latents = case(WeightsFile(one), 20)
    found = refiner(WeightsFile(one)).refine(audio, latents, 2, 20, beam)
    assert (found != refiner(WeightsFile(one)).refine(audio, latents, 2, 0, beam)).any()
    pair = np.stack([audio, audio])
    assert np.array_equal(packed(_engine.Encoder, WeightsFile(two)).latents(pair), latents)
    engine = refiner(WeightsFile(two))
    assert np.array_equal(engine.refine(pair, latents, 2, 20, beam), found)
    assert (
        engine.difference(pair, latents, found)[0]
        == (refiner(WeightsFile(one)).difference(audio, latents, found)[0])
    )


FINE = dataclasses.replace(VARIANTS["small"], codebook_size=1000)


def with_silent_side(tensors):
    """Weights of a model of two channels together that has the mid's of `tensors`, and no side."""

    both = {name: np.stack([tensors[name]] * 2) for name in tensors if ".front." in name}
    for name in tensors:
        if ".head." in name or name == "encoder.embed.weight":
            axis = int(name == "encoder.embed.weight")
            both[name] = np.concatenate([tensors[name], np.zeros_like(tensors[name])], axis)
    return tensors | both


def test_a_refinement_is_stopped_between_its_steps(weights):
    audio, latents = case(weights, 3)
    answers = iter([False, False, True])
    with pytest.raises(RuntimeError, match="stopped"):
        refiner(weights).refine(audio, latents, 1, 50, 1, answers.__next__)
    assert next(answers, None) is None


def test_an_interrupt_is_handled_between_steps(weights):
    audio, latents = case(weights, 3)
    # All of it is C, so that nothing but the engine looks for signals; the fourth call raises.
    interrupt = map(_thread.interrupt_main, itertools.repeat(signal.SIGINT, 3)).__next__
    with pytest.raises(KeyboardInterrupt):
        refiner(weights).refine(audio, latents, 1, 50, 1, interrupt)
