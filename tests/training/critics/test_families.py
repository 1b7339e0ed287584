"""Critics by period and of spectra equal their references, and pull on every sample."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from codec.errors import TrainingError
from codec.training.critics.ensemble import Critics
from codec.training.critics.grammar import CHANNELS, Kind, read_kinds
from codec.training.critics.judgement import judge
from codec.training.critics.period import PeriodCritic
from codec.training.critics.spectrum import QUIETEST, SpectrumCritic
from tests.helpers.nn_models import chirps
from tests.helpers.torch_signals import noise

ODD_SIZES = (78, 126, 206, 334, 542, 876, 1418, 2296)
ALL = "period4:2,3,5,7,11+complex4:78,542+magnitude4:126,876+complex-bands4:512+magnitude-bands:206"


def hifi_gan(critic: PeriodCritic, audio: torch.Tensor) -> list[torch.Tensor]:
    """HiFi-GAN's DiscriminatorP with the critic's weights: 2-D convolutions on rows of a period."""
    period = critic.period
    if audio.shape[1] % period:
        audio = F.pad(audio[:, None], (0, period - audio.shape[1] % period), "reflect")[:, 0]
    x = audio.view(len(audio), 1, -1, period)
    out = []
    for stride, layer in zip((3, 3, 3, 3, 1), critic.layers, strict=True):
        assert isinstance(layer, nn.Conv1d)
        x = F.conv2d(x, layer.weight[..., None], layer.bias, (stride, 1), (2, 0))
        x = F.leaky_relu(x, 0.1)
        out.append(x)
    return [F.conv2d(x, critic.score.weight[..., None], critic.score.bias, 1, (1, 0)), *out]


@given(st.sampled_from([2, 3, 5, 7, 11]), st.integers(1000, 1200), st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_period_critics_are_hifi_gans(period, samples, batch):
    critic = PeriodCritic(period, 2)
    audio = noise(batch, samples)
    for ours, theirs in zip(critic(audio), hifi_gan(critic, audio), strict=True):
        channels, rows = theirs.shape[1:3]
        folded = theirs.permute(0, 3, 1, 2).reshape(batch * period, channels, rows)
        torch.testing.assert_close(ours, folded, atol=1e-6, rtol=1e-4)


def test_a_quarter_of_hifi_gans_width_is_the_default():
    (kind,) = read_kinds("period:2", 4800)
    critic = PeriodCritic(kind.size, 4 * kind.channels)
    assert [layer.out_channels for layer in critic.layers] == [32, 128, 512, 1024, 1024]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("n_fft", [256, 78])
def test_complex_critics_are_encodecs(n_fft: int):
    reference = pytest.importorskip("encodec.msstftd")
    theirs = reference.DiscriminatorSTFT(4, n_fft=n_fft, hop_length=n_fft // 4, win_length=n_fft)
    ours = SpectrumCritic(n_fft, 4)
    pairs = zip([*ours.stacks[0], ours.score], [*theirs.convs, theirs.conv_post], strict=True)
    with torch.no_grad():
        for mine, other in pairs:
            # EnCodec's first layer has no weight norm: its weights are their own direction.
            v = getattr(other.conv, "weight_v", other.conv.weight)
            mine.parametrizations.weight.original1.copy_(v)
            mine.parametrizations.weight.original0.copy_(
                getattr(other.conv, "weight_g", v.square().sum((1, 2, 3), keepdim=True).sqrt())
            )
            mine.bias.copy_(other.conv.bias)
    audio = noise(2, 1500)
    score, *features = ours(audio)
    expected, maps = theirs(audio[:, None])
    torch.testing.assert_close(score, expected, atol=1e-5, rtol=1e-4)
    for mine, other in zip(features, maps, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("n_fft", ODD_SIZES)
def test_spectra_are_those_of_the_definition(n_fft: int):
    audio = noise(1, 2 * n_fft)
    window = 0.5 - 0.5 * torch.cos(2 * torch.pi * torch.arange(n_fft, dtype=torch.float64) / n_fft)
    frames = audio.double().unfold(1, n_fft, n_fft // 4) * window
    z = torch.fft.rfft(frames) / window.square().sum().sqrt()
    found = SpectrumCritic(n_fft, 1).spectrum(audio)
    torch.testing.assert_close(found[:, 0].double(), z.real, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[:, 1].double(), z.imag, atol=1e-5, rtol=1e-4)
    logs = SpectrumCritic(n_fft, 1, magnitude=True).spectrum(audio)[:, 0].double()
    torch.testing.assert_close(logs, (z.abs().square() + QUIETEST).log() / 2, atol=1e-3, rtol=1e-3)


@given(st.sampled_from(ODD_SIZES), st.integers(0, 4))
@settings(max_examples=8, deadline=None)
def test_layers_of_a_band_hear_that_band_alone(n_fft, band):
    critic = SpectrumCritic(n_fft, 2, bands=True)
    assert sum(critic.widths) == n_fft // 2 + 1
    audio = noise(1, 2 * n_fft).requires_grad_()
    heard = critic.spectrum(audio)
    features = critic(audio)[1:]
    last = features[5 * band + 4]
    (gradient,) = torch.autograd.grad(last.square().sum(), audio, retain_graph=True)
    assert gradient.abs().max() > 0
    edges = [0, *torch.cumsum(torch.tensor(critic.widths), 0).tolist()]
    stack = critic.stacks[band]
    x = heard[..., edges[band] : edges[band + 1]]
    for layer in stack:
        x = F.leaky_relu(layer(x), 0.2)
    torch.testing.assert_close(x, last)


@pytest.mark.parametrize("number", range(11))
def test_every_critic_learns_and_pulls(number: int):
    torch.manual_seed(0)
    critics = Critics(read_kinds(ALL, 4800))
    critic = critics[number]
    optimiser = torch.optim.Adam(critic.parameters(), 2e-3)
    voice = torch.from_numpy(chirps(2 * 4800)).view(2, 4800)
    first = last = None
    for seed in range(12):
        loss = judge(critic, voice, noise(2, 4800, seed=seed)).critic
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        first, last = first or loss.item(), loss.item()
    assert last < first
    for output in (torch.zeros(2, 4800), noise(2, 4800)):
        output.requires_grad_()
        judgement = judge(critic, voice, output)
        (pull,) = torch.autograd.grad(judgement.adversarial + judgement.features, output)
        assert torch.isfinite(pull).all()
    assert (pull.abs().amax(1) > 0).all()


def test_least_squares_is_the_papers():
    class Fixed(torch.nn.Module):
        def forward(self, audio: torch.Tensor) -> list[torch.Tensor]:
            return [3 * audio, audio]

    target, output = noise(2, 50), noise(2, 50, seed=1)
    found = judge(Fixed(), target, output, "least-squares")
    expected = ((3 * target - 1) ** 2).mean() + ((3 * output) ** 2).mean()
    torch.testing.assert_close(found.critic, expected)
    torch.testing.assert_close(found.adversarial, ((3 * output - 1) ** 2).mean())
    with pytest.raises(ValueError, match="adversarial"):
        judge(Fixed(), target, output, "wasserstein")


def test_the_grammar_names_every_family():
    sizes = ",".join(map(str, ODD_SIZES))
    kinds = read_kinds(f"3x512+6x256+period:2,3+magnitude:{sizes}+complex-bands8:64", 4800)
    assert kinds[:4] == [
        Kind("low", 512, factor=3),
        Kind("low", 256, factor=6),
        Kind("period", 2, CHANNELS["period"]),
        Kind("period", 3, CHANNELS["period"]),
    ]
    assert [kind.size for kind in kinds[4:12]] == list(ODD_SIZES)
    assert {kind.channels for kind in kinds[4:12]} == {16}
    assert kinds[12:] == [Kind("complex", 64, 8, bands=True)]


@pytest.mark.parametrize(
    "setting",
    ["", "wide", "period", "period:", "period:1", "period-bands:2", "period:2,,3", "complex:9",
     "complex:511", "complex:4802", "magnitude-bands:16", "period:60", "1x1022", "0x512", "2x4096",
     "complex:512+", "period:2+1x8"],
)  # fmt: skip
def test_critics_that_do_not_fit_are_refused(setting: str):
    with pytest.raises(TrainingError, match="critics cannot be"):
        read_kinds(setting, 4800)


@given(
    st.sampled_from(["period", "complex", "magnitude", "complex-bands", "magnitude-bands"]),
    st.integers(1, 300),
    st.integers(500, 3000),
)
@settings(max_examples=60, deadline=None)
def test_what_is_not_refused_runs(family, size, samples):
    try:
        (kind,) = read_kinds(f"{family}1:{size}", samples)
    except TrainingError:
        return
    (critic,) = Critics([kind])
    for part in critic(torch.zeros(1, samples)):
        assert part.numel()
