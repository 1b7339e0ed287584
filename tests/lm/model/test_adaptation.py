"""A model that learns from its prompt."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from codec.errors import OptionError, TokensError  # noqa: E402
from codec.lm.model.language_model import Conditions, LanguageModel  # noqa: E402
from tests.lm.model.small import CONFIG, codes, network  # noqa: E402


def stretch(seed: int, frames: int = CONFIG.context) -> np.ndarray:
    """Codes of a sound that uses a few codes only: 0 to 3 of each level."""
    return (codes(CONFIG.levels, frames, seed=seed) % 4).numpy()


def test_more_of_the_same_sound_becomes_cheaper() -> None:
    model = LanguageModel(network())
    learned = model.adapted(np.stack([stretch(1), stretch(2), stretch(3)]), steps=20)
    other = codes(CONFIG.levels, CONFIG.context, seed=9).numpy() | 8
    for asked in (Conditions(), Conditions(tags=["rain"])):
        saved, elsewhere = (
            model.bits(each, asked).mean() - learned.bits(each, asked).mean()
            for each in (stretch(4), other)
        )
        assert saved > max(0.05, 1.5 * elsewhere)


def test_the_model_itself_stays_and_the_same_steps_give_the_same() -> None:
    net = network()
    kept = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    model = LanguageModel(net, [("rain",)])
    asked = Conditions(tags=["rain"], voice=stretch(5, 4))
    one, again = (model.adapted(stretch(1), asked, steps=3) for _ in range(2))
    assert all(torch.equal(tensor, kept[name]) for name, tensor in net.state_dict().items())
    assert not any(parameter.requires_grad for parameter in one.network.parameters())
    np.testing.assert_array_equal(one.bits(stretch(2)), again.bits(stretch(2)))
    assert not np.array_equal(one.bits(stretch(2)), model.bits(stretch(2)))
    assert one.kinds == model.kinds
    further = one.adapted(stretch(1), steps=1)
    assert not np.array_equal(one.bits(stretch(2)), further.bits(stretch(2)))


def test_it_learns_where_nothing_else_does() -> None:
    model = LanguageModel(network())
    with torch.inference_mode():
        inside = model.adapted(stretch(1), steps=2)
    outside = model.adapted(stretch(1), steps=2)
    np.testing.assert_array_equal(inside.bits(stretch(2)), outside.bits(stretch(2)))


def test_the_last_frames_of_the_context_count() -> None:
    model = LanguageModel(network())
    long = np.concatenate([codes(CONFIG.levels, 9).numpy(), stretch(1)], 1)
    one, other = (model.adapted(each, steps=2).bits(stretch(2)) for each in (long, stretch(1)))
    np.testing.assert_array_equal(one, other)


def test_phones_are_those_of_the_whole_stretch() -> None:
    model = LanguageModel(network())
    phones = np.random.default_rng(0).integers(1, CONFIG.phones, (CONFIG.context + 9, 3))
    long = np.concatenate([codes(CONFIG.levels, 9).numpy(), stretch(1)], 1)
    one = model.adapted(long, Conditions(phones=phones), steps=1)
    other = model.adapted(stretch(1), Conditions(phones=phones[9:]), steps=1)
    np.testing.assert_array_equal(one.bits(stretch(2)), other.bits(stretch(2)))
    with pytest.raises(TokensError, match="phones"):
        model.adapted(long, Conditions(phones=phones[9:]))


def test_it_reports_each_step() -> None:
    told: list[tuple[int, int]] = []
    LanguageModel(network()).adapted(
        stretch(1), steps=3, report=lambda done, steps: told.append((done, steps))
    )
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_no_gradient_is_kept() -> None:
    learned = LanguageModel(network()).adapted(stretch(1), steps=1)
    assert all(parameter.grad is None for parameter in learned.network.parameters())


def test_nothing_to_learn_gives_the_model_itself() -> None:
    model = LanguageModel(network())
    assert model.adapted(stretch(1), steps=0) is model
    assert model.adapted(stretch(1, 0)) is model
    assert model.adapted(np.zeros((0, CONFIG.levels, 4), np.uint16)) is model


def test_what_makes_no_sense_is_refused() -> None:
    model = LanguageModel(network())
    with pytest.raises(OptionError, match="0 or more steps"):
        model.adapted(stretch(1), steps=-1)
    for rate in (0.0, -1.0, 1e30):
        with pytest.raises(OptionError, match="a rate above 0"):
            model.adapted(stretch(1), learning_rate=rate)
    with pytest.raises(OptionError):
        model.adapted(stretch(1), learning_rate=float("nan"))
    for wrong in (stretch(1)[:2], [[1, 2], [3]], "codes", None):
        with pytest.raises(TokensError, match="cuts"):
            model.adapted(wrong)
    with pytest.raises(TokensError, match="cuts"):
        model.adapted(stretch(1).astype(float))
