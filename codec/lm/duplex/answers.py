"""Replies that need no model: to try a conversation, and to test one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from codec.api import Codec
from codec.audio import read_audio
from codec.errors import AudioError
from codec.lm.duplex.events import Turn
from codec.support.types import Codes

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
