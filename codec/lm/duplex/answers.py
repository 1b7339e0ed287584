"""Replies to try a conversation with: what was said, a recording, or a language model's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from codec.api import Codec
from codec.audio import read_audio
from codec.errors import AudioError
from codec.lm.duplex.events import Turn
from codec.support.types import Codes

if TYPE_CHECKING:
    from codec.lm.model.language_model import LanguageModel

LONGEST = 60  # seconds of a recording


def repeat(turn: Turn) -> Codes:
    """Say what was said, from its tokens."""
    return turn.codes


def recording(path: Path, model: Codec, n_codebooks: int) -> Callable[[Turn], Codes]:
    """Make a callback that plays a file, its first channel, 60 s of it at most.

    Raises AudioError if it cannot be read.
    """
    try:
        audio, rate = read_audio(path)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from None
    first = audio[0, : LONGEST * rate]
    codes: Codes = model.encode(first, rate, n_codebooks=n_codebooks).codes[0]
    return lambda turn: codes


def continuation(lm: LanguageModel, frames: int = 100) -> Callable[[Turn], Iterator[Codes]]:
    """Make a callback that goes on with what was said, in the same voice, as AudioLM does.

    Codes have `lm.config.levels` codebooks, which the conversation must have, too. The same turn at
    the same time gives the same codes on the same machine. frames: that are said at most.
    """
    from codec.lm import Conditions

    def reply(turn: Turn) -> Iterator[Codes]:
        prompt = turn.codes[:, -lm.config.context + frames :]
        voice = turn.codes[:, -lm.config.voice_frames :]
        yield from lm.generate(prompt, Conditions(voice=voice), frames, seed=turn.start)

    return reply
