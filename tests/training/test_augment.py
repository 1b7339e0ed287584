"""Augmentations: what changes nothing, what is linear, what adds up, and that rows are apart."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from codec.errors import TrainingError
from codec.training import counter
from codec.training.augment.chain import Chain
from codec.training.augment.level import GAIN_STEPS, add_below, gain_table, scale
from codec.training.augment.noise import colour
from codec.training.augment.room import DELAY_SECONDS, convolve, response
from codec.training.augment.settings import Augmentations
from codec.training.augment.speed import TAPS, change_speed, margin
from codec.training.augment.tilt import tilt
from tests.helpers.host_reads import NoHostReads
from tests.helpers.torch_signals import noise

RATE = 24_000
SAMPLES = 4000
CPU = torch.device("cpu")
PLAIN = Augmentations(gain_db=(0.0, 0.0), sign_share=0.0)
ALL = Augmentations(speed_share=0.5, mix_share=0.5, tilt_share=0.5, room_share=0.5, noise_share=0.5)


def tone(hertz: float, samples: int = SAMPLES, middle: int | None = None) -> Tensor:
    """A cosine whose phase is 0 at the sample `middle`, float64 [1, samples]."""
    place = torch.arange(samples, dtype=torch.float64) - (
        samples // 2 if middle is None else middle
    )
    return torch.cos(2 * math.pi * hertz * place / RATE)[None]


def apply(
    settings: Augmentations, audio: Tensor, step: int = 3, samples: int = SAMPLES, **options: Tensor
) -> Tensor:
    """Run the chain on a batch of rows 0, 1, ..., or of `rows`, with crops to mix in."""
    chain = Chain(settings, samples, RATE, 7, CPU)
    rows = options.get("rows", torch.arange(len(audio)))
    other = options.get("other", noise(len(audio), audio.shape[1], seed=1))
    return chain(audio, other if chain.mixes else None, torch.tensor(step), rows)


# Levels


def test_a_sign_twice_is_the_identity() -> None:
    audio = noise(3, SAMPLES)
    assert torch.equal(scale(scale(audio, -torch.ones(3)), -torch.ones(3)), audio)


def test_gains_multiply() -> None:
    audio, a, b = noise(2, SAMPLES), torch.tensor([0.5, 0.25]), torch.tensor([-0.125, 0.5])
    assert torch.equal(scale(scale(audio, a), b), scale(audio, a * b))  # powers of 2: exact


def test_a_gain_that_would_clip_ends_at_full_scale() -> None:
    audio = noise(4, SAMPLES)
    loud = scale(audio, torch.full((4,), -1000.0))
    torch.testing.assert_close(loud.abs().amax(1), torch.ones(4))  # but for rounding
    assert torch.allclose(loud * audio.abs().amax(1, keepdim=True), -audio, atol=1e-6)
    assert torch.equal(scale(torch.zeros(1, 8), torch.tensor([9.0])), torch.zeros(1, 8))


def test_the_table_holds_the_gains() -> None:
    decibels = 20 * torch.log10(gain_table(-12, 3).double())
    assert torch.allclose(decibels, torch.linspace(-12, 3, GAIN_STEPS).double(), atol=1e-5)


@pytest.mark.parametrize("decibels", [-6.0, 0.0, 20.0])
def test_what_is_added_lies_so_far_below(decibels: float) -> None:
    audio, other = noise(2, SAMPLES), 7 * noise(2, SAMPLES, seed=1)
    added = add_below(audio, other, torch.full((2,), decibels)) - audio
    ratio = audio.square().sum(1) / added.square().sum(1)
    assert torch.allclose(10 * torch.log10(ratio), torch.full((2,), decibels), atol=1e-3)


def test_nothing_is_added_to_or_from_silence() -> None:
    audio, silence, level = noise(1, SAMPLES), torch.zeros(1, SAMPLES), torch.zeros(1)
    assert torch.equal(add_below(audio, silence, level), audio)
    assert torch.equal(add_below(silence, audio, level), silence)


# Speed


def test_speed_1_is_the_identity() -> None:
    audio = noise(2, SAMPLES)
    assert torch.equal(change_speed(audio, torch.ones(2), SAMPLES), audio)
    # The middle of a longer piece, at even and odd lengths.
    for length, samples in ((4100, 4000), (4101, 4000), (4101, 3999), (4000, 3999)):
        first = length // 2 - samples // 2
        middle = change_speed(noise(2, length), torch.ones(2), samples)
        assert torch.equal(middle, noise(2, length)[:, first : first + samples])


@pytest.mark.parametrize("speed", [0.96, 0.99, 1.003, 1.04])
@pytest.mark.parametrize("hertz", [100.0, 1000.0, 5000.0, 9000.0])
def test_a_tone_becomes_a_tone_of_another_pitch(speed: float, hertz: float) -> None:
    read = tone(hertz, SAMPLES + margin(SAMPLES, 1.04)).float()
    found = change_speed(read, torch.tensor([speed]), SAMPLES)
    exact = round(float(np.float32(speed)) * 2**24) / 2**24
    error = (found.double() - tone(hertz * exact)).square().sum()
    assert error < 1e-8 * tone(hertz * exact).square().sum()  # -80 dB


def test_the_margin_is_enough_for_the_greatest_speed() -> None:
    read = torch.ones(1, SAMPLES + margin(SAMPLES, 1.04))
    found = change_speed(read, torch.tensor([1.04]), SAMPLES)
    assert torch.allclose(found, torch.ones(1, SAMPLES), atol=1e-3)
    assert margin(SAMPLES, 1.0) == TAPS


# Tilt


def test_tilt_0_is_the_identity() -> None:
    audio = noise(2, SAMPLES)
    assert torch.allclose(tilt(audio, torch.zeros(2), RATE), audio, atol=1e-6)


def test_a_tilt_and_its_opposite_cancel() -> None:
    # In the middle: what a filter carries over the ends of a crop is cut off.
    audio = noise(2, SAMPLES)
    slope = torch.tensor([2.0, -1.0])
    back = tilt(tilt(audio, slope, RATE), -slope, RATE)
    assert torch.allclose(back[:, 1000:-1000], audio[:, 1000:-1000], atol=1e-4)


@pytest.mark.parametrize(("hertz", "octaves"), [(250, -2), (1000, 0), (8000, 3)])
def test_a_tilt_is_so_many_decibels_an_octave(hertz: float, octaves: int) -> None:
    audio = (tone(hertz) * torch.hann_window(SAMPLES)).float()
    found = tilt(audio, torch.tensor([1.5]), RATE)
    gain = 10 * torch.log10(found.square().sum() / audio.square().sum())
    assert float(gain) == pytest.approx(1.5 * octaves, abs=0.01)


# Noise


def test_exponent_0_leaves_white_noise() -> None:
    white = noise(2, SAMPLES)
    assert torch.allclose(colour(white, torch.zeros(2), RATE), white, atol=1e-6)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_the_density_falls_by_the_exponent(exponent: float) -> None:
    shaped = colour(noise(1, 2**18), torch.tensor([exponent]), RATE).double()
    power = torch.fft.rfft(shaped[0]).abs().square()
    hertz = torch.fft.rfftfreq(2**18, 1 / RATE)

    def band(centre: float) -> float:
        return float(power[(hertz > centre / 2**0.5) & (hertz < centre * 2**0.5)].mean())

    # Means over thousands of bins: a standard error of 2 % at most.
    assert math.log2(band(1000) / band(4000)) == pytest.approx(2 * exponent, abs=0.2)


# Rooms


def test_a_room_is_heard_after_the_direct_sound_and_decays() -> None:
    drawn = torch.randn(2, 12_000, generator=torch.Generator().manual_seed(2))
    seconds, level = torch.tensor([0.2, 0.5]), torch.tensor([-3.0, -12.0])
    found = response(drawn, seconds, level, RATE).double()
    first = round(DELAY_SECONDS * RATE)
    assert torch.equal(found[:, 0], torch.ones(2).double())
    assert not found[:, 1:first].any()
    energy = found[:, first:].square()
    assert torch.allclose(10 * torch.log10(energy.sum(1)), level.double(), atol=1e-3)
    # Schroeder's decay curve: 30 dB in half of the time for 60 dB, by both ends of a line.
    remaining = energy.flip(1).cumsum(1).flip(1)
    for row, decay in enumerate(seconds.tolist()):
        late = round(decay / 3 * RATE)
        fallen = 10 * math.log10(float(remaining[row, 0] / remaining[row, late]))
        assert fallen == pytest.approx(20, abs=2)


def test_convolution_is_that_of_numpy() -> None:
    audio, impulse = noise(2, SAMPLES), noise(2, 700, seed=1)
    found = convolve(audio, impulse)
    for row in range(2):
        expected = np.convolve(audio[row].double(), impulse[row].double())[:SAMPLES]
        assert np.allclose(found[row], expected, atol=1e-6)


def test_an_empty_room_is_the_identity() -> None:
    audio = noise(2, SAMPLES)
    quiet = response(noise(2, 500), torch.full((2,), 0.1), torch.full((2,), -200.0), RATE)
    assert torch.allclose(convolve(audio, quiet), audio, atol=1e-6)


# The chain


def test_without_augmentations_nothing_happens() -> None:
    audio = noise(3, SAMPLES)
    assert torch.equal(apply(PLAIN, audio), audio)


@pytest.mark.parametrize("name", ["speed", "mix", "tilt", "room", "noise"])
def test_a_share_is_of_the_crops_and_the_others_are_left_alone(name: str) -> None:
    samples = 400  # short, for many crops
    settings = dataclasses.replace(PLAIN, **{f"{name}_share": 0.25})
    read = Chain(settings, samples, RATE, 7, CPU).samples_read
    first = read // 2 - samples // 2
    audio = noise(1, read).repeat(200, 1)
    found = apply(settings, audio, samples=samples)
    same = (found == audio[:, first : first + samples]).all(1)
    bound = math.sqrt(math.log(2e9) / 400)  # Hoeffding: exceeded once in 10^9
    assert abs(float(same.double().mean()) - 0.75) < bound
    every = apply(dataclasses.replace(settings, **{f"{name}_share": 1.0}), audio, samples=samples)
    assert not (every == audio[:, first : first + samples]).all(1).any()
    # A share decides whether, not how.
    assert torch.equal(found[~same], every[~same])


def test_a_crop_does_not_depend_on_its_batch() -> None:
    chain = Chain(ALL, SAMPLES, RATE, 7, CPU)
    audio, other = noise(8, chain.samples_read), noise(8, chain.samples_read, seed=1)
    whole = apply(ALL, audio, other=other)
    rows = torch.tensor([5, 2, 7])
    part = apply(ALL, audio[rows], other=other[rows], rows=rows)
    assert torch.allclose(part, whole[rows], atol=1e-6)


def test_a_function_of_the_step() -> None:
    audio = noise(4, Chain(ALL, SAMPLES, RATE, 7, CPU).samples_read)
    assert torch.equal(apply(ALL, audio, 3), apply(ALL, audio, 3))
    assert not torch.allclose(apply(ALL, audio, 3), apply(ALL, audio, 4), atol=1e-3)


def test_full_scale_and_silence_stay_in_range() -> None:
    read = Chain(ALL, SAMPLES, RATE, 7, CPU).samples_read
    settings = dataclasses.replace(ALL, gain_db=(3.0, 3.0))
    square = torch.sign(noise(32, read))
    assert apply(settings, square, other=square).abs().max() <= 1
    silence = torch.zeros(32, read)
    assert torch.equal(apply(ALL, silence, other=silence), torch.zeros(32, SAMPLES))


@pytest.mark.slow
def test_the_chain_is_one_graph_without_a_look_at_the_data() -> None:
    chain = Chain(ALL, SAMPLES, RATE, 7, CPU)
    inputs = (
        noise(2, chain.samples_read),
        noise(2, chain.samples_read, seed=1),
        torch.tensor(3),
        torch.arange(2),
    )
    with NoHostReads():
        eager = chain(*inputs)
    compiled = torch.compile(chain, fullgraph=True, backend="eager")(*inputs)
    assert torch.allclose(compiled, eager, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_augments_alike() -> None:
    here, there = (Chain(ALL, SAMPLES, RATE, 7, torch.device(name)) for name in ("cpu", "cuda"))
    inputs = (
        noise(16, here.samples_read),
        noise(16, here.samples_read, seed=1),
        torch.tensor(3),
        torch.arange(16),
    )
    found = there(*(tensor.cuda() for tensor in inputs))
    assert torch.allclose(here(*inputs), found.cpu(), atol=1e-4)


def test_normal_numbers_of_a_row_are_apart_from_those_of_another_use() -> None:
    rows = torch.arange(2)
    streams = [counter.words(7, torch.tensor(3), rows, stream, 64) for stream in range(11)]
    assert len({int(word) for stream in streams for word in stream.flatten()}) == 11 * 2 * 64


@pytest.mark.parametrize(
    "setting",
    [
        {"speed_share": 1.5},
        {"mix_share": -0.1},
        {"noise_share": math.nan},
        {"noise_db": (3.0, 1.0)},
        {"gain_db": (0.0,)},
        {"room_seconds": (0.0, 0.5)},
        {"room_seconds": (0.1, 60.0)},
        {"tilt_db": math.inf},
        {"speed_percent": -1.0},
    ],
)
def test_settings_that_make_no_sense(setting: dict) -> None:
    with pytest.raises(TrainingError, match=next(iter(setting))):
        Augmentations(**setting)
