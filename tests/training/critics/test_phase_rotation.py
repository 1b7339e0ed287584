"""PhaseAug: rotates as torch.stft and istft would, and does nothing at an angle of zero."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.training.critics.ensemble import Critics
from codec.training.critics.grammar import read_kinds
from codec.training.critics.phase_rotation import N_FFT, N_NUMBERS, PhaseRotation
from tests.helpers.nn_models import chirps

BINS = N_FFT // 2 + 1


def numbers(batch: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, N_NUMBERS, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1024, 4000))
@settings(max_examples=8, deadline=None)
def test_no_rotation_is_the_audio(samples):
    audio = torch.from_numpy(chirps(samples))[None]
    torch.testing.assert_close(PhaseRotation()(audio, torch.zeros(1, BINS)), audio)


def test_equals_the_library_transforms():
    audio = torch.from_numpy(chirps(8192)).view(2, 4096)
    rotation = PhaseRotation()
    angles = rotation.angles(numbers(2))
    window = torch.hann_window(N_FFT)
    z = torch.stft(audio, N_FFT, N_FFT // 4, window=window, return_complex=True)
    expected = torch.istft(
        z * torch.exp(1j * angles)[..., None], N_FFT, N_FFT // 4, window=window, length=4096
    )
    torch.testing.assert_close(rotation(audio, angles), expected, atol=1e-5, rtol=1e-4)


def test_an_angle_that_grows_with_frequency_is_a_delay():
    audio = torch.from_numpy(chirps(9600))[None]
    ramp = (-2 * math.pi / N_FFT * 4 * torch.arange(BINS))[None]  # 4 samples later
    found = PhaseRotation()(audio, ramp)
    error = (found[:, 2048 + 4 : 8192 + 4] - audio[:, 2048:8192]).norm()
    # windows move with the signal: only their edges differ, by 4 of 1024 samples
    assert error < 0.05 * audio[:, 2048:8192].norm()


def test_angles_are_smooth_delays_and_a_function_of_the_numbers():
    rotation = PhaseRotation()
    given_ = numbers(200)
    angles = rotation.angles(given_)
    assert torch.equal(angles, rotation.angles(given_))
    assert (angles[:, 0] == 0).all()
    delays = angles[:, 1:] * N_FFT / (2 * math.pi) / torch.arange(1, BINS)
    inner = delays[:, 100:400]
    # cut off at .05 of the bins' rate (two-sided .1 of the noise's power 6), and 2 u: 4 / 3
    assert inner.var().item() == pytest.approx(6 * 0.1 + 4 / 3, rel=0.15)
    assert inner.diff(dim=1).std() < 0.25 * inner.std()


def test_a_constant_is_kept_by_the_filter():
    only_u = torch.zeros(1, N_NUMBERS)
    only_u[:, -1] = 50.0  # u = 1
    delays = PhaseRotation().angles(only_u)[:, 100:400] * N_FFT / (2 * math.pi)
    torch.testing.assert_close(delays / torch.arange(100, 400), torch.full((1, 300), 2.0))


def test_both_are_turned_alike_and_gradients_pass():
    critics = Critics(read_kinds("period2:2,3+magnitude2:128", 4800), rotated="waveform")
    assert critics.hears_rotated == [True, True, False]
    assert Critics(read_kinds("6x256", 4800), rotated="all").hears_rotated == [True]
    rotation = PhaseRotation()
    angles = rotation.angles(numbers(1))
    audio = torch.from_numpy(chirps(4800))[None]
    output = (audio + 0.01).requires_grad_()
    same = rotation(audio, angles)
    assert critics.judge([0, 1, 2], audio, audio, (same, same)).features.item() == 0
    turned = (same, rotation(output, angles))
    said = critics.judge([0, 1, 2], audio, output, turned)
    (pull,) = torch.autograd.grad(said.features + said.adversarial, output)
    assert torch.isfinite(pull).all()
    plain = critics.judge([2], audio, output)
    torch.testing.assert_close(critics.judge([2], audio, output, turned).features, plain.features)
    assert (
        critics.judge([0], audio, output).features
        != critics.judge([0], audio, output, turned).features
    )
