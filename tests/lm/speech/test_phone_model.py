"""Phones that nobody wrote: learned from clips, drawn by a seed, laid along frames."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from codec.lm.speech.durations import LONGEST, SHORTEST, Clip
from codec.lm.speech.phone_model import (
    LONGEST_PAUSE,
    PhoneModel,
    fit_phones,
    perplexity,
    spoken,
)
from codec.lm.speech.phones import PAUSE, PHONE_IDS


def clips(count: int = 64, seed: int = 0) -> list[Clip]:
    """B is followed by AA, D by IY; vowels are long; there are up to four pairs between pauses."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        pairs = [("B", "AA") if random.random() < 0.5 else ("D", "IY") for _ in range(4)]
        phones = [PAUSE, *itertools.chain(*pairs[: random.integers(1, 5)]), PAUSE]
        durations = [20.0, *[5.0, 40.0] * ((len(phones) - 2) // 2), 60.0]
        made.append(Clip(phones, [""] * len(phones), durations))
    return made


@pytest.fixture(scope="module")
def model() -> PhoneModel:
    torch.set_num_threads(1)
    return fit_phones(clips(), epochs=40, batch_size=16, learning_rate=1e-2, width=24)


def test_what_follows_what_is_learned(model: PhoneModel) -> None:
    # two consonants, and whether the clip goes on, are all that is open
    assert perplexity(model, clips(seed=1)) < 1.6
    made = list(itertools.islice(model.draw(0), 400))
    pairs = list(itertools.pairwise(phone for phone, _ in made))
    right = [after == {"B": "AA", "D": "IY"}[phone] for phone, after in pairs if phone in "BD"]
    assert np.mean(right) > 0.95
    long, short = ([d for phone, d in made if phone in kind] for kind in (("AA", "IY"), "BD"))
    assert np.median(long) > 3 * np.median(short)
    assert all(SHORTEST <= duration <= LONGEST for _, duration in made)


def test_the_seed_decides(model: PhoneModel) -> None:
    one, again, other = (list(itertools.islice(model.draw(s), 50)) for s in (3, 3, 4))
    assert one == again
    assert one != other


@pytest.mark.parametrize("frames", [1, 2, 77])
def test_frames_are_filled(model: PhoneModel, frames: int) -> None:
    laid = spoken(model, frames, 5)
    assert laid.shape == (frames, 3)
    assert (laid[:, 0] > 0).all()
    pauses = (laid[:, 0] == PHONE_IDS[PAUSE]).astype(int)
    runs = [len(list(run)) for quiet, run in itertools.groupby(pauses) if quiet]
    # two pauses meet where a clip ends and another begins
    assert max(runs, default=0) <= 2 * (LONGEST_PAUSE * 0.01 * 25 + 1)


def test_a_class_of_durations_has_those_that_it_gives() -> None:
    model = PhoneModel(4, 24)
    numbers = torch.arange(24)
    for within in (0.01, 0.5, 0.99):
        given = torch.tensor([model.duration_of(int(n), within) for n in numbers])
        assert torch.equal(model.class_of(given), numbers)
    assert model.class_of(torch.tensor([0.5, 1e4])).tolist() == [0, 23]
