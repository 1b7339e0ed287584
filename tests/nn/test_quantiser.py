"""The quantiser equals vector-quantize-pytorch's, and its parts do what their names say."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import codec.rvq
from codec.nn.quantiser import ResidualQuantiser, kmeans, nearest

LEVELS, SIZE, DIM = 4, 16, 6


def latents(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, DIM, generator=torch.Generator().manual_seed(seed))


def fitted(seed: int = 0, **options: float) -> ResidualQuantiser:
    quantiser = ResidualQuantiser(LEVELS, SIZE, DIM, **options)
    quantiser.fit(latents(seed, 400), torch.Generator().manual_seed(seed), 4)
    return quantiser


def taught(quantiser: ResidualQuantiser, x: torch.Tensor, used=None, number: int = 0) -> None:
    """Let the codebooks learn from x."""
    statistics = quantiser(x, used, count=True).statistics
    quantiser.learn(statistics, torch.tensor(number))


def distortion(x: torch.Tensor, codebook: torch.Tensor) -> float:
    return float((x.double() - codebook.double()[nearest(x, codebook)]).square().sum(1).mean())


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_nearest_is_nearest(seed):
    x, codebook = latents(seed, 50), latents(seed + 1, SIZE)
    expected = (x.double()[:, None] - codebook.double()).square().sum(2).argmin(1)
    assert torch.equal(nearest(x, codebook), expected)


def test_equals_vector_quantize_pytorch():
    library = pytest.importorskip("vector_quantize_pytorch")
    quantiser = fitted()
    other = library.ResidualVQ(dim=DIM, num_quantizers=LEVELS, codebook_size=SIZE).eval()
    for layer, codebook in zip(other.layers, quantiser.codebooks, strict=True):
        layer._codebook.embed.data.copy_(codebook[None])
    x = latents(1, 3, 20)
    ours = quantiser.eval()(x)
    theirs, codes, _ = other(x)
    assert torch.equal(ours.codes, codes.permute(2, 0, 1))
    torch.testing.assert_close(ours.latents, theirs)


def test_averages_follow_vector_quantize_pytorch():
    library = pytest.importorskip("vector_quantize_pytorch")
    ours = ResidualQuantiser(1, SIZE, DIM, decay=0.9, revive=0.0)
    ours.fit(latents(0, 400), torch.Generator().manual_seed(0), 4)
    other = library.VectorQuantize(
        DIM, SIZE, decay=0.9, eps=1e-9, threshold_ema_dead_code=0, sync_codebook=False
    )
    batch = 40
    # Counts here are relative to the mean use; there they are of one batch.
    unit = batch / SIZE
    book = other._codebook
    book.embed.data.copy_(ours.codebooks)
    book.embed_avg.data.copy_(ours.sums * unit)
    book.cluster_size.data.copy_(ours.counts * unit)
    other.train()
    for seed in range(1, 6):
        x = latents(seed, 1, batch)
        taught(ours, x)
        other(x)
        torch.testing.assert_close(ours.codebooks, book.embed.data)
        torch.testing.assert_close(ours.counts * unit, book.cluster_size.data)


@given(st.integers(1, LEVELS), st.integers(0, 100))
@settings(max_examples=12, deadline=None)
def test_any_prefix_of_the_levels_is_an_encoding(depth, seed):
    quantiser = fitted().eval()
    x = latents(seed, 2, 15)
    full = quantiser(x)
    part = quantiser(x, levels=depth)
    assert torch.equal(part.codes, full.codes[:depth])
    assert torch.allclose(part.latents, quantiser.decode(full.codes[:depth]), atol=1e-6)


def test_each_item_has_its_own_depth():
    quantiser = fitted().eval()
    x = latents(5, 2, 15)
    mixed = quantiser(x, torch.tensor([1, 3]))
    shallow, deep = quantiser(x, torch.tensor([1, 1])), quantiser(x, torch.tensor([3, 3]))
    assert torch.equal(mixed.latents[0], shallow.latents[0])
    assert torch.equal(mixed.latents[1], deep.latents[1])
    assert (mixed.codes[1:, 0] == -1).all()
    assert torch.equal(mixed.codes[:, 1], deep.codes[:, 1])


def test_levels_not_used_do_not_learn():
    quantiser = fitted().train()
    before = quantiser.codebooks.clone()
    taught(quantiser, latents(6, 2, 15), torch.tensor([2, 1]))
    changed = (quantiser.codebooks != before).flatten(1).any(1)
    assert changed.tolist() == [True, True, False, False]


def test_nothing_is_learned_unless_asked_for():
    quantiser = fitted()
    before = {name: value.clone() for name, value in quantiser.state_dict().items()}
    statistics = quantiser(latents(7, 2, 15), count=True).statistics
    assert_same(before, quantiser)
    quantiser.learn(statistics, torch.tensor(0), torch.tensor(False))
    assert_same(before, quantiser)
    broken = type(statistics)(*(value * torch.nan for value in statistics))
    quantiser.learn(broken, torch.tensor(0), torch.tensor(False))
    assert_same(before, quantiser)


def assert_same(before: dict[str, torch.Tensor], quantiser: ResidualQuantiser) -> None:
    assert all(torch.equal(before[k], v) for k, v in quantiser.state_dict().items())


def test_parts_of_a_batch_are_the_batch():
    whole, parted = fitted().train(), fitted().train()
    x, used = latents(3, 4, 15), torch.tensor([1, 4, 2, 3])
    parts = [parted(x[i::2], used[i::2], count=True).statistics for i in range(2)]
    taught(whole, x, used)
    parted.learn(type(parts[0])(*(a + b for a, b in zip(*parts, strict=True))), torch.tensor(0))
    torch.testing.assert_close(whole.state_dict(), parted.state_dict())


def test_gradients_pass_straight_through():
    quantiser = fitted().eval()
    x = latents(8, 2, 15).requires_grad_()
    weights = latents(9, 2, 15)
    (gradient,) = torch.autograd.grad((quantiser(x).latents * weights).sum(), x)
    assert torch.equal(gradient, weights)


def test_commitment_is_the_mean_residual_energy():
    quantiser = fitted().eval()
    x = latents(8, 2, 15)
    result = quantiser(x)
    flat = x.flatten(0, 1)
    left = [
        (x - quantiser.decode(result.codes[: k + 1])).square().sum(2).mean() for k in range(LEVELS)
    ]
    expected = torch.stack(left).mean() / flat.var(0, unbiased=False).sum()
    torch.testing.assert_close(result.commitment, expected)


@given(st.integers(0, 1000), st.integers(0, 6))
@settings(max_examples=15, deadline=None)
def test_each_iteration_of_kmeans_lowers_the_distortion(seed, iterations):
    x = latents(seed, 300)

    def run(count: int) -> float:
        return distortion(x, kmeans(x, SIZE, count, torch.Generator().manual_seed(seed)))

    assert run(iterations + 1) <= run(iterations) * (1 + 1e-6)


def test_kmeans_finds_separate_clusters():
    centres = 100 * latents(0, SIZE)
    x = (centres[:, None] + latents(1, SIZE, 20)).flatten(0, 1)
    found = kmeans(x, SIZE, 30, torch.Generator().manual_seed(3))
    # Lloyd may share a centre between two clusters; what it says must be a fixed point then.
    codes = nearest(x, found)
    means = torch.stack([x[codes == k].mean(0) for k in codes.unique()])
    torch.testing.assert_close(found[codes.unique()], means)


def test_fit_says_what_is_left():
    quantiser = ResidualQuantiser(LEVELS, SIZE, DIM).eval()
    x = latents(2, 400)
    left = quantiser.fit(x, torch.Generator().manual_seed(0), 4)
    codes = quantiser(x[None]).codes
    energy = x.var(0).sum()
    measured = [
        float((x - quantiser.decode(codes[: k + 1])[0]).square().sum(1).mean() / energy)
        for k in range(LEVELS)
    ]
    np.testing.assert_allclose(left, measured, rtol=1e-4)
    assert left == sorted(left, reverse=True)


def test_a_codeword_that_wins_nothing_takes_over_half_of_a_popular_one():
    quantiser = fitted(decay=0.99).train()
    quantiser.codebooks[0, 3:] = 1000.0
    quantiser.sums[0] = quantiser.codebooks[0] * quantiser.counts[0][:, None]
    far = (quantiser.codebooks[0] > 500).all(1).sum()
    assert far == SIZE - 3
    # A count that is not fed falls by 0.99 a step, to 0.1 of the mean in 230 to 450.
    for step in range(900):
        taught(quantiser, latents(step, 1, 64), torch.tensor([1]), step)
    assert not (quantiser.codebooks[0].abs() > 10).any()
    assert len(nearest(latents(3, 1000), quantiser.codebooks[0]).unique()) == SIZE


def on_a_grid(x: torch.Tensor) -> torch.Tensor:
    """Round so that sums of products are exact in float32."""
    return torch.round(16 * x) / 16


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_level_1_beside_the_others_is_a_plain_residual_quantiser(seed: int):
    split = fitted(seed, first_dims=2, revive=0.5, decay=0.5)
    for number in range(3):
        taught(split, latents(seed + number, 5, 40), number=number)
    assert not split.codebooks[0, :, 2:].any()
    assert not split.codebooks[1:, :, :2].any()
    assert split.codebooks[0, :, :2].abs().sum(1).min() > 0
    split.codebooks.copy_(on_a_grid(split.codebooks))
    plain = ResidualQuantiser(LEVELS, SIZE, DIM)
    plain.codebooks.copy_(split.codebooks)
    x = on_a_grid(latents(seed + 9, 3, 50))
    for levels in (1, 2, LEVELS):
        ours, theirs = split(x, levels=levels), plain(x, levels=levels)
        assert torch.equal(ours.codes, theirs.codes)
        torch.testing.assert_close(ours.latents, theirs.latents, atol=0, rtol=0)
    # and each part is quantised by itself
    assert torch.equal(
        ours.codes[0].flatten(), nearest(x.flatten(0, 1)[:, :2], split.codebooks[0, :, :2])
    )
    # the operator that the engine's search is made of finds them too
    flat = x.flatten(0, 1).numpy()
    found = codec.rvq.encode(flat, split.codebooks.numpy())
    assert np.array_equal(found, ours.codes.flatten(1).numpy())


def test_a_level_that_is_not_used_teaches_nothing():
    split = fitted(0, first_dims=2)
    x = latents(1, 2, 7).requires_grad_()
    found = split(x, torch.tensor([1, LEVELS]))
    (gradient,) = torch.autograd.grad(found.latents.sum(), x)
    assert torch.equal(gradient[0], torch.tensor([1.0, 1, 0, 0, 0, 0]).expand(7, -1))
    assert torch.equal(gradient[1], torch.ones(7, DIM))
