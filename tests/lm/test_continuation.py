"""What a model is told when a recording goes on."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from codec.errors import OptionError, TokensError
from codec.lm.continuation import LEARNED, Manner, asked_after, attuned, continued
from codec.lm.model.config import preset
from codec.lm.model.language_model import Conditions, LanguageModel
from codec.lm.model.network import Network
from codec.lm.speech.phone_model import PhoneModel, spoken

PHONES = PhoneModel(8, 4).eval()


def model(*kinds: str) -> LanguageModel:
    config = preset("tiny", levels=2, codebook_size=16, tags=("piano", "speech"))
    return LanguageModel(Network(config).eval(), [(kind,) for kind in kinds])


def codes(frames: int) -> np.ndarray:
    return np.random.default_rng(frames).integers(0, 16, (3, frames)).astype(np.uint16)


def test_speech_gets_phones_after_the_prompt() -> None:
    lm, prompt = model("speech"), codes(90)
    asked = asked_after(lm, prompt, 30, PHONES, seed=3)
    assert tuple(asked.tags) == ("speech",)
    np.testing.assert_array_equal(asked.voice, prompt[:, -lm.config.voice_frames :])
    phones = np.asarray(asked.phones)
    assert not phones[:90].any()
    np.testing.assert_array_equal(phones[90:], spoken(PHONES, 30, 3))
    assert asked_after(lm, prompt, 30, None, seed=3).phones is None


def test_music_gets_none() -> None:
    asked = asked_after(model("piano"), codes(20), 30, PHONES, seed=0)
    assert (tuple(asked.tags), asked.phones) == (("piano",), None)
    assert tuple(asked_after(model(), codes(20), 30, PHONES, seed=0).tags) == ()


def test_frames_follow_by_the_seed() -> None:
    lm, prompt = model("speech"), codes(20)

    def made(seed: int) -> np.ndarray:
        return np.concatenate([*continued(lm, prompt, 9, PHONES, Manner(seed=seed))], 1)

    assert made(1).shape == (2, 9)
    np.testing.assert_array_equal(made(1), made(1))
    assert not np.array_equal(made(1), made(2))


def test_a_prompt_may_be_lists_or_what_tokens_hold() -> None:
    lm, prompt = model("speech"), codes(20)
    expected = [*continued(lm, prompt, 4, PHONES)]
    for given in (prompt.tolist(), prompt[None], torch.from_numpy(prompt.astype(int))):
        np.testing.assert_array_equal([*continued(lm, given, 4.0, PHONES)], expected)  # type: ignore[arg-type]
    with pytest.raises(TokensError, match=r"not \[2, 3, 20\]"):
        continued(lm, np.stack([prompt, prompt]), 4, PHONES)
    for wrong in (-1, 2.5, "x"):
        with pytest.raises(OptionError, match="frames"):
            continued(lm, prompt, wrong, PHONES)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["piano", "speech"])
def test_the_model_learns_from_the_last_seconds_of_the_prompt(kind: str) -> None:
    lm, cuts = model(kind), np.stack([codes(LEARNED + 20), codes(LEARNED + 20) % 5])
    learned, heard = attuned(lm, cuts, steps=2), cuts[:, :, -LEARNED:]
    asked = Conditions(tags=[kind], voice=heard[0, :, -lm.config.voice_frames :])
    expected = lm.adapted(heard, asked, steps=2).bits(codes(9))
    np.testing.assert_array_equal(learned.bits(codes(9)), expected)
    assert attuned(lm, cuts, steps=0) is lm
    assert attuned(lm, cuts[:, :, :0]) is lm
    for wrong in (cuts[0], None, [[1, 2], [3]]):
        with pytest.raises(TokensError, match="cuts"):
            attuned(lm, wrong)
