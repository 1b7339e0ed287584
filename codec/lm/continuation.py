"""How a recording goes on: what the model is told about it, and the frames that follow.

The model itself says what kind of sound the prompt is: the tags by which it costs the fewest bits.
After speech, a model of phones decides what is said next (AudioLM's two stages, arXiv 2209.03143).
The prompt is the voice. The model learns from it before it goes on (`attuned`), and is held to it
by guidance while it does (`continued`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import OptionError, TokensError
from codec.lm.model.adaptation import Report, unreported
from codec.lm.model.language_model import STEPS, Conditions, LanguageModel, array_of
from codec.lm.speech.phone_model import PhoneModel, spoken
from codec.support.arguments import single, whole
from codec.support.types import Codes

SPEECH = "speech"  # the tag
# Bits. Most of what people let go on is speech; chosen by the clips of bench/development.tsv.
PRIOR = {SPEECH: 7.0}
LEARNED = 150  # frames of a prompt that the model learns from, at most: 6 s
VOICE_STEPS = 8  # of learning from speech, where nothing counts more than the voice


@dataclasses.dataclass(frozen=True)
class Manner:
    """How codes are drawn; the fields are those of `LanguageModel.generate`.

    temperature: by default .4 where phones are drawn, which vary what is said, else .9.
    guidance: how closely the phones are followed: more sounds clearer, less is more like the voice
        (`bench/lm.md`).
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = 0.95
    guidance: float = 1.25
    prompt_guidance: float = 2.0
    seed: int = 0


MANNER = Manner()


def attuned(
    lm: LanguageModel,
    cuts: npt.ArrayLike,
    tags: Sequence[str] | None = None,
    steps: int | None = None,
    report: Report = unreported,
) -> LanguageModel:
    """Return a model that has learned from the last seconds of a prompt (`LanguageModel.adapted`).

    cuts: codes [cuts, levels or more, T] of `codec.lm.cuts.cuts_of`. tags: as in `asked_after`.
    steps: by default 8 for speech, and 3 for music and sounds. report: as in
    `LanguageModel.adapted`. Raises OptionError or TokensError.
    """
    heard = array_of(cuts, "cuts")
    if heard.ndim != 3:
        raise TokensError(f"cuts: codes are [cuts, levels, frames], not {list(heard.shape)}")
    heard = heard[:, :, -LEARNED:]
    if steps == 0 or not len(heard) or not heard.shape[2]:
        return lm
    tags = lm.kind_of(heard[0], PRIOR) if tags is None else tags
    if steps is None:
        steps = VOICE_STEPS if SPEECH in tags else STEPS
    asked = Conditions(tags=tags, voice=heard[0, :, -lm.config.voice_frames :])
    return lm.adapted(heard, asked, steps=steps, report=report)


def _prompt_of(codes: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return codes [levels, frames], or [1, levels, frames], as an array of two dimensions.

    Raises TokensError.
    """
    array = single(array_of(codes, "the prompt"))
    if array.ndim != 2:
        raise TokensError(f"the prompt: codes are [levels, frames], not {list(array.shape)}")
    return array


def asked_after(
    lm: LanguageModel,
    prompt: npt.ArrayLike,
    frames: int,
    phones: PhoneModel | None,
    seed: int,
    tags: Sequence[str] | None = None,
) -> Conditions:
    """Return what to ask for where `frames` frames follow `prompt`, codes [levels or more, T].

    phones: draws what is said, in English; None for speech without words. The same seed draws the
    same phones. tags: of the prompt; by default the model finds them (`LanguageModel.kind_of`).
    """
    prompt = _prompt_of(prompt)
    frames = whole(frames, "frames", OptionError)
    if frames < 0:
        raise OptionError(f"{frames} frames cannot be made")
    tags = lm.kind_of(prompt, PRIOR) if tags is None else tags
    laid = None
    if phones is not None and SPEECH in tags:
        before = np.zeros((prompt.shape[1], 3), np.int64)  # nobody says what the prompt says
        drawn = spoken(phones, frames, seed, frame_rate=lm.config.frame_rate)
        laid = np.concatenate([before, drawn])
    return Conditions(tags=tags, voice=prompt[:, -lm.config.voice_frames :], phones=laid)


def continued(
    lm: LanguageModel,
    prompt: npt.ArrayLike,
    frames: int,
    phones: PhoneModel | None = None,
    manner: Manner = MANNER,
    tags: Sequence[str] | None = None,
) -> Iterator[Codes]:
    """Yield `frames` frames that follow `prompt`: uint16 [levels, 1], each when it is made.

    prompt: codes [levels or more, T]; its last seconds count. phones, tags: as in
    `asked_after`. Raises OptionError or TokensError at once.
    """
    asked = asked_after(lm, prompt, frames, phones, manner.seed, tags)
    told = asked.phones is not None
    if manner.temperature is None:
        manner = dataclasses.replace(manner, temperature=0.4 if told else 0.9)
    if not told:  # without phones, the prompt alone guides
        manner = dataclasses.replace(manner, guidance=1.0)
    return lm.generate(prompt, asked, frames, **dataclasses.asdict(manner))
