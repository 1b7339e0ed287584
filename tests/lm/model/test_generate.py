"""Generation: draws, seeds, and what users pass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

import codec.lm  # noqa: E402
from codec.errors import ModelError, OptionError, TokensError  # noqa: E402
from codec.lm.model.files import read_network, write_network  # noqa: E402
from codec.lm.model.generation import frame_of  # noqa: E402
from codec.lm.model.language_model import Conditions, LanguageModel  # noqa: E402
from codec.lm.model.sampling import Sampling, draw  # noqa: E402
from tests.lm.model.small import CONFIG, codes, network  # noqa: E402

LEVELS, SIZE = CONFIG.levels, CONFIG.codebook_size


def made(frames=20, prompt=None, conditions=None, model=None, **options):
    model = model or LanguageModel(network())
    options = {"seed": 0, **options}
    return np.concatenate(
        [np.zeros((LEVELS, 0), np.uint16), *model.generate(prompt, conditions, frames, **options)],
        1,
    )


def test_frames_come_one_by_one_as_codes_of_their_level():
    for frame in LanguageModel(network()).generate(frames=30, seed=1):
        assert frame.shape == (LEVELS, 1)
        assert frame.dtype == np.uint16
        assert frame.max() < SIZE


def test_the_same_seed_gives_the_same_codes():
    assert np.array_equal(made(seed=3), made(seed=3))
    assert not np.array_equal(made(seed=3), made(seed=4))


def test_a_prefix_of_the_frames_does_not_depend_on_how_many_follow():
    assert np.array_equal(made(9, seed=3), made(40, seed=3)[:, :9])


@pytest.mark.parametrize("length", [0, 1, 7, CONFIG.context - 1, CONFIG.context + 5])
def test_greedy_codes_are_the_best_of_one_pass(length):
    net, prompt = network(), codes(LEVELS, length).numpy()
    phones = codes(length + 4, 3, seed=5).numpy() % CONFIG.phones
    asked = Conditions(tags=["rain"], voice=codes(LEVELS, 5, seed=6).numpy(), phones=phones)
    found = made(4, prompt, asked, LanguageModel(net), temperature=0)
    whole = np.concatenate([prompt, found], 1).astype(np.int64)
    if length < CONFIG.context:  # a longer prompt is cut to the context
        model = LanguageModel(net)
        with torch.inference_mode():
            added = net.conditions(whole.shape[1], **model._parts(asked, whole.shape[1]))
            best = net(torch.from_numpy(whole)[None], added)[:, 0].argmax(-1).numpy()
        assert np.array_equal(best[:, length:], found)


PHONES, VOICE, TAGS = np.full((20, 3), 2), codes(LEVELS, 9, seed=3), CONFIG.tags[:1]


@pytest.mark.parametrize(
    "asked",
    [
        Conditions(phones=PHONES),
        Conditions(voice=VOICE),
        Conditions(tags=TAGS),
        Conditions(TAGS, VOICE, PHONES),
    ],
)
def test_guidance_of_1_is_the_model_and_more_is_not(asked):
    plain = made(conditions=asked)
    assert np.array_equal(plain, made(conditions=asked, guidance=1.0 + 1e-7))
    assert not np.array_equal(plain, made(conditions=asked, guidance=4.0))


@pytest.mark.parametrize(
    ("asked", "less"),
    [
        (Conditions(TAGS, VOICE, PHONES), Conditions(TAGS, VOICE)),
        (Conditions(TAGS, VOICE), Conditions(TAGS)),
        (Conditions(TAGS), Conditions()),
    ],
)
def test_guidance_of_0_leaves_out_the_closest_condition(asked, less):
    assert np.array_equal(made(conditions=asked, guidance=0.0), made(conditions=less))


def test_guidance_without_conditions_changes_nothing():
    assert np.array_equal(made(guidance=4.0, prompt_guidance=4.0), made())


def test_guidance_by_the_prompt():
    one, other = codes(2, LEVELS, 8, seed=7).numpy()
    other[:, -1] = one[:, -1]
    asked = Conditions(voice=VOICE, phones=np.full((28, 3), 2))

    def after(prompt, **options):
        return made(prompt=prompt, conditions=asked, **options)[:, 8:]

    assert np.array_equal(after(one), after(one, prompt_guidance=1.0 + 1e-7))
    assert not np.array_equal(after(one), after(one, prompt_guidance=4.0))
    assert not np.array_equal(after(one), after(other))
    # without the prompt, only its last frame is heard
    assert np.array_equal(after(one, prompt_guidance=0.0), after(other, prompt_guidance=0.0))


def test_both_guidances_add_up():
    net, states = (
        network(),
        torch.randn(3, CONFIG.width, generator=torch.Generator().manual_seed(1)),
    )
    weights = torch.tensor([4.0, -1.0, -2.0])  # 1 + 1 + 2 of what knows all
    sampling, chances = Sampling(0.0), torch.zeros(LEVELS)
    with torch.no_grad():
        found, total = frame_of(net, states, sampling, chances, weights)
        y = net.level_states(states, net.embedded(found[None, :, None])[:, 0].expand(3, -1, -1))
        scores = torch.einsum("b,lbw,lcw->lc", weights, y, net.embed)
    assert torch.equal(scores.argmax(1), found)
    torch.testing.assert_close(total, net.embedded(found[None, :, None])[0, 0].sum(0))


def test_the_kind_is_the_one_whose_tags_fit_best():
    net = network()
    with torch.no_grad():
        net.tags.mul_(10)
    model = LanguageModel(net, [("piano",), ("rain",), ("speech",)])
    found = set()
    for seed, tag in enumerate(CONFIG.tags):
        own = made(frames=40, conditions=Conditions(tags=[tag]), model=model, seed=seed)
        kind = model.kind_of(own)
        own = own[:, -CONFIG.voice_frames :]
        costs = {k: model.bits(own, Conditions(tags=k)).sum() for k in model.kinds}
        assert costs[kind] == min(costs.values())
        for name in CONFIG.tags:  # enough bits decide
            assert model.kind_of(own, {name: 1e6}) == (name,)
        found.add(kind)
    assert len(found) > 1
    assert LanguageModel(net).kind_of(own) == ()
    assert model.kind_of(own[:, :0]) == ()


def test_bits_are_those_of_the_scores():
    net, own = network(), codes(LEVELS, 9)
    logs = torch.log_softmax(net(own[None])[:, 0], -1)
    expected = -logs.gather(2, own[..., None])[..., 0] / np.log(2)
    np.testing.assert_allclose(LanguageModel(net).bits(own), expected, rtol=1e-5)


@given(
    scores=st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=30),
    chance=st.floats(0, 1, exclude_max=True),
    top_k=st.none() | st.integers(1, 40),
    top_p=st.none() | st.floats(0.01, 1),
)
@settings(deadline=None)
def test_draws_are_allowed_codes(scores, chance, top_k, top_p):
    logits = torch.tensor(scores)
    code = int(draw(logits, Sampling(1.0, top_k, top_p), torch.tensor(chance)))
    chances = torch.softmax(logits.double(), 0)
    better = chances > chances[code] * (1 + 1e-6)
    if top_k is not None:
        assert int(better.sum()) < top_k
    if top_p is not None:
        assert float(chances[better].sum()) < top_p + 1e-5


@given(
    scores=st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=30),
    chance=st.floats(0, 1, exclude_max=True),
    small=st.floats(0, 1e-30, exclude_min=True),
)
@settings(deadline=None)
def test_the_best_code_is_left_by_the_smallest_options(scores, chance, small):
    logits = torch.tensor(scores)
    chances = torch.softmax(logits, 0)  # equal ones may be of scores that are nearly so
    for sampling in (Sampling(top_p=small), Sampling(temperature=small)):
        assert chances[draw(logits, sampling, torch.tensor(chance))] == chances.max()


def test_draws_are_as_frequent_as_their_probabilities():
    logits = torch.tensor([0.0, 1.0, 2.0, float("-inf")])
    every = (torch.arange(1000) + 0.5) / 1000
    counts = np.bincount([int(draw(logits, Sampling(), c)) for c in every], minlength=4)
    np.testing.assert_allclose(counts / 1000, torch.softmax(logits, 0), atol=2e-3)


def test_wrong_arguments_are_named():
    model = LanguageModel(network())
    with pytest.raises(OptionError, match="knows piano, rain, speech"):
        model.generate(conditions=Conditions(tags=["tuba"]))
    with pytest.raises(OptionError, match="temperature"):
        model.generate(temperature=-1)
    with pytest.raises(OptionError, match="top_p"):
        model.generate(top_p=0.0)
    for name, wrong in (("top_k", 2.5), ("top_k", "5"), ("top_p", "0.9"), ("temperature", None)):
        with pytest.raises(OptionError, match=name):
            model.generate(**{name: wrong})
    assert Sampling(1, np.int64(5), np.float32(0.5)) == Sampling(1.0, 5, 0.5)
    with pytest.raises(OptionError, match="tags are a list of words, not 'piano'"):
        model.generate(conditions=Conditions(tags="piano"))
    assert model.bits(np.zeros((LEVELS, 0), int)).shape == (LEVELS, 0)
    for strength in ("guidance", "prompt_guidance"):
        with pytest.raises(OptionError, match="finite"):
            model.generate(**{strength: float("nan")})
    with pytest.raises(TokensError, match="levels"):
        model.generate(np.zeros((LEVELS - 1, 4), int))
    with pytest.raises(TokensError, match="codes are 0 to"):
        model.generate(np.full((LEVELS, 4), SIZE))
    with pytest.raises(TokensError, match="phones"):
        model.generate(conditions=Conditions(phones=np.zeros((3, 3), int)), frames=4)


def test_weights_come_back(tmp_path):
    path = tmp_path / "lm.safetensors"
    net = network().half().float()
    write_network(net, path, kinds=[("speech",)], extra={"licence": "CC0-1.0"})
    again = codec.lm.load(path)
    assert again.kinds == (("speech",),)
    assert again.config == CONFIG
    assert np.array_equal(made(model=again), made(model=LanguageModel(net)))


def test_damaged_weights_are_refused(tmp_path):
    path = tmp_path / "lm.safetensors"
    write_network(network(), path)
    data = path.read_bytes()
    for wrong in (data[:-10], data[:4], b"", data.replace(b"codec language", b"codec lungaage")):
        path.write_bytes(wrong)
        with pytest.raises(ModelError):
            read_network(path)
    with pytest.raises(ModelError, match="no such file"):
        read_network(tmp_path / "none")
