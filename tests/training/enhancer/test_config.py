"""Settings of an enhancer's training: what they refuse, and how the rate goes."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from hypothesis import given
from hypothesis import strategies as st

from codec.errors import ModelError, TrainingError
from codec.training.enhancer.config import EnhancerTraining
from tests.helpers.enhancer_training import TINY


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("crop_samples", 2047),
        ("context_samples", 7),
        ("depths", [0.5, 1.5]),
        ("level_db", [3, -3]),
        ("mel_weight", -1),
        ("critics", "3x100000"),
        ("lr", 0),
        ("decay_share", 1.5),
        ("ema_decay", 1),
        ("betas", [0.9]),
        ("precision", "float16"),
        ("lr", "fast"),
        ("unknown", 1),
        ("model", {"hidden": "wide"}),
        ("model", {"unknown": 1}),
    ],
)
def test_what_does_not_fit_is_named(name, value):
    what = next(iter(value)) if isinstance(value, dict) else name
    with pytest.raises(TrainingError, match=what):
        EnhancerTraining().replace({name: value})


def test_dimensions_change_and_are_checked():
    assert EnhancerTraining().replace({"model": {"dim": 64}}).model.dim == 64
    with pytest.raises(ModelError, match="hop"):
        EnhancerTraining().replace({"model": {"hop": 40}})


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_rate_falls_over_the_last_part(one, other):
    early, late = sorted((one, other))
    assert TINY.rate_at(10_000, early) >= TINY.rate_at(10_000, late) >= TINY.decay_floor
    assert TINY.rate_at(10_000, min(one, 1 - TINY.decay_share)) == 1


def test_the_rate_rises_at_first_and_ends_at_the_floor():
    config = EnhancerTraining()
    assert [config.rate_at(step, 0) for step in (0, 99, 199, 300)] == [1 / 200, 0.5, 1, 1]
    assert config.rate_at(10_000, 1) == pytest.approx(config.decay_floor)
    assert EnhancerTraining(decay_share=0).rate_at(10_000, 1) == 1
