"""The network: what a frame may see, and conditions that are optional."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

from codec.lm.model.generation import Decoding  # noqa: E402
from codec.lm.model.loss import cross_entropy  # noqa: E402
from codec.lm.model.network import attended  # noqa: E402
from tests.lm.model.small import CONFIG, codes, network  # noqa: E402

LEVELS, CONTEXT = CONFIG.levels, CONFIG.context


@pytest.mark.parametrize("level", range(LEVELS))
def test_scores_depend_on_earlier_frames_and_lower_levels_alone(level):
    net, given = network(), codes(1, LEVELS, 8)
    changed = given.clone()
    changed[0, level, 5] = (changed[0, level, 5] + 1) % CONFIG.codebook_size
    differs = (net(given) != net(changed)).any(-1)[:, 0]  # [levels, frames]
    expected = torch.zeros(LEVELS, 8, dtype=torch.bool)
    expected[level + 1 :, 5] = True
    expected[:, 6:] = True
    assert torch.equal(differs, expected)


def test_a_frame_looks_back_on_the_context_alone():
    config_layers = CONFIG.layers
    net = network()
    reach = config_layers * (CONTEXT - 1) + 1  # frames before, through all layers
    given = codes(1, LEVELS, reach + 4)
    changed = given.clone()
    changed[0, :, 0] = (changed[0, :, 0] + 1) % CONFIG.codebook_size
    differs = (net(given) != net(changed)).any(-1)[:, 0].any(0)
    assert differs[1 : CONTEXT + 1].all()
    assert not differs[reach + 1 :].any()


@pytest.mark.parametrize("begin", [1, 5, CONTEXT])
def test_steps_with_a_cache_equal_one_pass(begin):
    net, given = network(), codes(2, LEVELS, 3 * CONTEXT + 1)
    embedded = net.embedded(given)
    whole = net.hidden(embedded)
    before = embedded.sum(2)
    x = torch.cat([net.begin.expand(2, 1, -1), before[:, :-1]], 1)
    decoding = Decoding(net, (0, 0))
    parts = [decoding.advance(x[:, :begin])]
    parts += [decoding.advance(x[:, t : t + 1]) for t in range(begin, x.shape[1])]
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-5)


def test_attention_of_training_equals_the_fused_one():
    random = torch.Generator().manual_seed(0)
    heads = [torch.randn(2, 3, 9, 4, generator=random, requires_grad=True) for _ in range(3)]
    above = torch.randn(2, 3, 9, 4, generator=random)
    fused = F.scaled_dot_product_attention(*heads, is_causal=True)
    own = attended(*heads)
    torch.testing.assert_close(own, fused)
    torch.testing.assert_close(
        torch.autograd.grad(own, heads, above), torch.autograd.grad(fused, heads, above)
    )


@pytest.mark.parametrize("hidden", [1, 4, CONTEXT])
def test_hidden_frames_change_nothing_after_them(hidden):
    net = network()
    random = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2 * CONTEXT + 3, CONFIG.width, generator=random)
    changed = x.clone()
    changed[:, :hidden] += 1

    def states(x, blind):
        decoding = Decoding(net, (blind, 0))
        parts = [decoding.advance(x[:, :6].expand(2, -1, -1))]
        for t in range(6, x.shape[1]):
            parts.append(decoding.advance(x[:, t : t + 1].expand(2, -1, -1)))
        return torch.cat(parts, 1)

    (one, plain), (other, _) = states(x, hidden), states(changed, hidden)
    torch.testing.assert_close(one[hidden:], other[hidden:])
    torch.testing.assert_close(one[:hidden], plain[:hidden])
    # the frame after them would have heard them, and so, layer by layer, the later ones
    assert not torch.allclose(one[hidden], plain[hidden])
    torch.testing.assert_close(states(x, 0)[0], plain)


def test_a_batch_equals_its_items():
    net, given = network(), codes(3, LEVELS, 9)
    phones = codes(3, 9, 3, seed=1) % 6
    tags, voice = torch.tensor([[0, 1], [2, -1], [-1, -1]]), codes(3, LEVELS, 5, seed=2)
    voice[1] = -1
    together = net(given, net.conditions(9, tags, voice, phones))
    for i in range(3):
        one = slice(i, i + 1)
        alone = net(given[one], net.conditions(9, tags[one], voice[one], phones[one]))
        torch.testing.assert_close(together[:, one], alone, rtol=1e-4, atol=1e-5)


def test_conditions_that_are_absent_equal_none():
    net, given = network(), codes(2, LEVELS, 7)
    plain = net(given)
    tags, voice = torch.full((2, 3), -1), torch.full((2, LEVELS, 5), -1)
    phones = torch.zeros(2, 7, 3, dtype=torch.int64)
    phones[..., 1:] = 9  # distances of no phone say nothing
    for asked in ((tags, None, None), (None, voice, None), (None, None, phones)):
        assert torch.equal(net(given, net.conditions(7, *asked)), plain)
    assert net.conditions(7) is None


def test_every_condition_counts():
    net, given = network(), codes(1, LEVELS, 7)
    plain = net(given)
    tags, voice = torch.tensor([[1]]), codes(1, LEVELS, 5, seed=3)
    phones = torch.tensor([[[2, 0, 7]] * 7])
    for asked in ((tags, None, None), (None, voice, None), (None, None, phones)):
        assert not torch.equal(net(given, net.conditions(7, *asked)), plain)


def test_a_hidden_frame_says_nothing():
    net, given = network(), codes(1, LEVELS, 7)
    changed = given.clone()
    changed[0, :, 3] = (changed[0, :, 3] + 1) % CONFIG.codebook_size
    kept = torch.ones(1, 7, dtype=torch.bool)
    kept[0, 3] = False
    differs = (net(given, None, kept) != net(changed, None, kept)).any(-1)[:, 0]
    assert not differs[:, :3].any()
    assert not differs[:, 4:].any()


def test_cross_entropy_equals_pytorchs_with_its_gradients():
    torch.manual_seed(0)
    y = torch.randn(LEVELS, 300, 16, dtype=torch.float64).float().requires_grad_()
    table = torch.randn(LEVELS, 16, 16).requires_grad_()
    targets = codes(LEVELS, 300)
    targets[:, 7::5] = -1
    own = cross_entropy(y, table, targets)
    scores = torch.bmm(y, table.transpose(1, 2))
    theirs = torch.stack(
        [F.cross_entropy(s, t, ignore_index=-1) for s, t in zip(scores, targets, strict=True)]
    )
    torch.testing.assert_close(own, theirs)
    weights = torch.tensor([1.0, 2.0, 0.5])
    gradients = [torch.autograd.grad((loss * weights).sum(), (y, table)) for loss in (own, theirs)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_alike_codewords_begin_alike():
    torch.manual_seed(0)
    net = network()
    books = torch.randn(LEVELS, CONFIG.codebook_size, 8)
    books[:, 1] = books[:, 0] + 0.01
    net.begin_with(books)
    distance = torch.cdist(net.embed, net.embed)
    other = distance[:, 0, 2:].mean(1)
    assert (distance[:, 0, 1] < 0.7 * other).all()
