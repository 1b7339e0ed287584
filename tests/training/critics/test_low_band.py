"""Critics of the low band: the formulas of their losses, what they hear, and what may learn."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.training.critics.ensemble import Critics
from codec.training.critics.grammar import Kind
from codec.training.critics.judgement import judge, mean_of
from codec.training.critics.low_band import Narrow, SpectralCritic
from tests.helpers.nn_models import chirps


class Fixed(torch.nn.Module):
    """Scores and one layer of features that are linear in the audio."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, audio: torch.Tensor) -> list[torch.Tensor]:
        return [3 * self.factor * audio, 2 * audio]


KINDS = tuple(
    Kind("low", n_fft, factor=factor) for factor, n_fft in ((1, 2048), (1, 512), (3, 512), (6, 256))
)


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8))
@settings(deadline=None)
def test_losses_are_those_of_the_papers(values):
    output = torch.tensor([values])
    target = torch.linspace(-0.7, 0.9, len(values))[None]
    found = judge(Fixed(), target, output)
    relu = torch.relu
    hinge = relu(1 - 3 * target).mean() + relu(1 + 3 * output).mean()
    torch.testing.assert_close(found.critic, hinge)
    torch.testing.assert_close(found.adversarial, relu(1 - 3 * output).mean())
    distance = (target - output).abs().mean() / target.abs().mean()
    torch.testing.assert_close(found.features, distance)


def test_features_of_equal_signals_are_equal():
    audio = torch.from_numpy(chirps(4800))[None]
    for critic in Critics(KINDS, 4):
        assert judge(critic, audio, audio).features.item() == 0


def test_several_critics_say_the_mean():
    target, output = (torch.from_numpy(chirps(480, seed))[None] for seed in (0, 1))
    both = mean_of([judge(critic, target, output) for critic in (Fixed(), Fixed(0.5))])
    one, other = judge(Fixed(), target, output), judge(Fixed(0.5), target, output)
    for name in ("critic", "adversarial", "features"):
        mean = (getattr(one, name) + getattr(other, name)) / 2
        torch.testing.assert_close(getattr(both, name), mean)


@given(st.floats(0.1, 10))
@settings(max_examples=10, deadline=None)
def test_loudness_does_not_count(gain):
    critic = SpectralCritic(512, 4)
    audio = torch.from_numpy(chirps(4800))[None]
    for quiet, loud in zip(critic(audio), critic(gain * audio), strict=True):
        torch.testing.assert_close(quiet, loud, atol=1e-4, rtol=1e-3)


def test_any_length_of_audio_and_silence():
    for n_fft in (2048, 1024, 512):
        critic = SpectralCritic(n_fft, 4)
        for samples in (n_fft, n_fft + 1, 4800):
            score, *features = critic(torch.zeros(2, samples))
            assert score.shape[:3] == (2, 1, samples // (n_fft // 4) + 1)
            assert all(torch.isfinite(layer).all() for layer in (score, *features))


def test_gradients_reach_the_audio_even_from_silence():
    for critic in Critics(KINDS, 4):
        output = torch.zeros(1, 4800, requires_grad=True)
        judgement = judge(critic, torch.from_numpy(chirps(4800))[None], output)
        (gradient,) = torch.autograd.grad(judgement.adversarial + judgement.features, output)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_a_critic_learns_to_tell_noise_from_voice(number):
    torch.manual_seed(0)
    critic = Critics(KINDS, 4, low=0.25)[number]
    optimiser = torch.optim.Adam(critic.parameters(), 1e-2)
    voice = torch.from_numpy(chirps(2 * 4800)).view(2, 4800)

    def loss(seed: int) -> torch.Tensor:
        noise = 0.1 * torch.randn(2, 4800, generator=torch.Generator().manual_seed(seed))
        return judge(critic, voice, noise).critic

    for seed in range(40):
        optimiser.zero_grad()
        loss(seed).backward()
        optimiser.step()
    # 2 is what a critic that always says 0 has.
    assert loss(1000).item() < 1


def test_a_critic_pulls_only_in_the_band_it_hears():
    torch.manual_seed(0)
    critic = SpectralCritic(512, 4, first=128)
    audio = (torch.randn(1, 9600) * 0.1).requires_grad_()
    score, *features = critic(audio)
    (pull,) = torch.autograd.grad(score.sum() + sum(f.square().sum() for f in features), audio)
    energy = torch.fft.rfft(pull[0]).abs().square()
    # 128 of 256 bins: half of the band; Hann windows leak two bins of theirs below it
    below = energy[: len(energy) * 126 // 256]
    assert below.sum() < 1e-3 * energy.sum()


def test_a_narrow_critic_hears_the_low_band_at_its_full_level():
    def heard(hertz: float) -> float:
        tone = torch.sin(2 * torch.pi * hertz / 24_000 * torch.arange(24_000))
        low = Narrow(torch.nn.Identity(), 3)(tone[None])
        assert low.shape == (1, 8000)
        return float(low[0, 100:-100].square().mean() / tone.square().mean())

    for hertz in (50, 1000, 3000):
        assert heard(hertz) == pytest.approx(1, abs=0.004)
    for hertz in (4300, 6000, 7000, 8000, 11_900):
        assert heard(hertz) < 1e-6
