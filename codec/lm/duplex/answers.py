"""Replies to try a conversation with: what was said, a recording, a language model's, or a text."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codec.api import Codec
from codec.audio import read_audio
from codec.errors import AudioError, DataError
from codec.lm.duplex.events import Turn
from codec.support.types import Codes

if TYPE_CHECKING:
    from codec.lm.model.language_model import LanguageModel
    from codec.lm.speech.phone_model import PhoneModel
    from codec.lm.speech.speak import Speaker
    from codec.lm.speech.voices import Voice

LONGEST = 60  # seconds of a recording

# What is answered: a text, its pieces as they are found (a sentence each), or None for nothing.
Answer = str | Iterable[str] | None


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


def continuation(
    lm: LanguageModel, frames: int = 100, phones: PhoneModel | None = None
) -> Callable[[Turn], Iterator[Codes]]:
    """Make a callback that goes on with what was said, in the same voice, as AudioLM does.

    Codes have `lm.config.levels` codebooks, which the conversation must have, too. The same turn at
    the same time gives the same codes on the same machine. frames: that are said at most. phones:
    draws what is said, in English (`codec.lm.speech.voices.Speech.phones`).
    """
    from codec.lm.continuation import SPEECH, Manner, continued

    # A turn is speech. To ask the model for its kind would take longer than a reply may.
    tags = [SPEECH] if SPEECH in lm.config.tags else []

    def reply(turn: Turn) -> Iterator[Codes]:
        prompt = turn.codes[:, -lm.config.context + frames :]
        yield from continued(lm, prompt, frames, phones, Manner(seed=turn.start), tags)

    return reply


def spoken(
    speaker: Speaker, answer: Callable[[Turn], Answer], voice: str | Voice
) -> Callable[[Turn], Generator[Codes]]:
    """Make a callback that says the text which `answer` returns.

    Codes have `speaker.language_model.config.levels` codebooks, which the conversation must have,
    too. The first piece of a text is heard while the next is found; when the reply is interrupted,
    a generator that yields them is closed. Pieces without a word are passed over. Raises
    OptionError if the speaker does not have the voice, and while it replies what
    `Speaker.frames` raises.
    """
    known = speaker.speech.voice(voice) if isinstance(voice, str) else voice

    def reply(turn: Turn) -> Generator[Codes]:
        found = answer(turn)
        pieces = iter(()) if found is None else iter([found] if isinstance(found, str) else found)
        try:
            for piece in pieces:
                if any(map(str.isalnum, piece)):
                    yield from speaker.frames(piece, known)
        finally:
            if (close := getattr(pieces, "close", None)) is not None:
                close()

    return reply


def asked(command: Sequence[str], text: str) -> Generator[str]:
    """Run a program with `text` on its standard input, and yield each line of its output at once.

    The program ends when the generator is closed. Raises DataError if it cannot be started or
    fails.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise DataError(f"{command[0]}: {error.strerror}") from None
    with process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):  # it need not read what it is told
                process.stdin.write(text + "\n")
                process.stdin.flush()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            yield from process.stdout
        except BaseException:  # most often GeneratorExit: nobody wants the rest
            process.kill()
            raise
    if process.returncode:
        raise DataError(f"{command[0]} ended with status {process.returncode}")
