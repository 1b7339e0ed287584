import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from codec.training.losses.loudness import (  # noqa: E402
    N_BANDS,
    TOP,
    LoudnessLoss,
    bark_bands,
    hearing_threshold,
)
from tests.helpers.torch_signals import noise  # noqa: E402

SHAPE = (2, 12_000)


@pytest.fixture(scope="module")
def loss():
    return LoudnessLoss(24_000)


def test_every_bin_up_to_the_top_counts_once():
    bands, centres = bark_bands(N_BANDS, 768, 24_000)
    hertz = torch.arange(385) * 24_000 / 768
    total = bands.sum(1)
    torch.testing.assert_close(total[(hertz > 20) & (hertz < TOP - 20)], torch.ones(255))
    assert total[hertz > TOP + 20].sum() == 0
    assert (bands.sum(0) > 0).all()
    assert (centres.diff() > 0).all()


def test_threshold_is_lowest_where_ears_are_best():
    hertz = torch.linspace(50, TOP, 400)
    assert 2500 < hertz[hearing_threshold(hertz).argmin()] < 4500


def test_equal_signals_are_at_the_minimum(loss):
    x = noise(*SHAPE, seed=0)
    least = loss(x, x)
    assert 0 < least < 0.05  # of the roots' floors alone
    assert loss(x, x + 0.5 * noise(*SHAPE, seed=1)) > 2 * least


def test_differences_under_the_dead_zone_are_not_heard(loss):
    x = noise(*SHAPE, seed=0)  # 10 % of amplitude are about 4 % of loudness
    torch.testing.assert_close(loss(x, 1.1 * x), loss(x, x), rtol=0.01, atol=0.0)
    assert loss(x, 4 * x) > 2 * loss(x, x)


def test_what_is_added_is_heard_more_than_what_is_missing(loss):
    x = noise(*SHAPE, seed=0)
    x[:, 6000:] *= 1e-2
    added, missing = x.clone(), x.clone()
    added[:, 6000:] *= 10
    missing[:, 6000:] /= 10
    assert loss(x, added) > 1.5 * loss(x, missing)


def test_the_level_of_the_pair_does_not_matter(loss):
    x = noise(*SHAPE, seed=0)
    y = x + 0.05 * noise(*SHAPE, seed=1)
    torch.testing.assert_close(loss(x, y), loss(0.2 * x, 0.2 * y), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("silent", ["target", "output", "both"])
def test_silence_has_finite_gradients(loss, silent):
    x, y = noise(*SHAPE, seed=0), noise(*SHAPE, seed=1)
    x = x * 0 if silent in ("target", "both") else x
    y = (y * 0 if silent in ("output", "both") else y).requires_grad_()
    loss(x, y).backward()
    assert torch.isfinite(y.grad).all()


def test_gradient_descent_finds_the_loudness_of_the_target(loss):
    x = noise(*SHAPE, seed=0)
    gain = torch.tensor(0.3, requires_grad=True)
    optimiser = torch.optim.Adam([gain], lr=0.03)
    before = float(loss(x, gain.detach() * x))
    for _ in range(40):
        optimiser.zero_grad()
        loss(x, gain * x).backward()
        optimiser.step()
    assert loss(x, gain.detach() * x) < 0.3 * before
