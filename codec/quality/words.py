"""Word error rate: what a recogniser still understands."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from codec.audio import as_int16
from codec.errors import MetricError
from codec.quality.pair import SPEECH_RATE, Audio, check_pair, finite, package, resampled


def word_error_rate(reference: Audio, decoded: Audio, sample_rate: int, text: str | None) -> float:
    """Substitutions, insertions and deletions over the words of `text`, as PocketSphinx with its
    US English model hears the decoded audio; 0 at best. The recogniser errs on originals too: what
    counts is the difference to theirs."""
    check_pair(reference, decoded)
    return error_rate(text, lambda: recognise(decoded, sample_rate), words)


def error_rate(
    text: str | None, hear: Callable[[], str], split: Callable[[str], list[str]]
) -> float:
    """Errors in what is heard, over the words of `text`. Raises MetricError without words."""
    wanted = split(text or "")
    if not wanted:
        raise MetricError("the word error rate needs a transcript")
    return finite(edits(wanted, split(hear())) / len(wanted))


def recognise(audio: Audio, sample_rate: int) -> str:
    """What PocketSphinx hears in `audio` [samples]."""
    decoder = _decoder()
    # Its cepstral mean follows what was heard before: the same audio must give the same words.
    decoder.reinit_feat()
    decoder.start_utt()
    samples = as_int16(resampled(audio, sample_rate, SPEECH_RATE))
    decoder.process_raw(samples.tobytes(), full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return found.hypstr if found is not None else ""


def words(text: str) -> list[str]:
    """Lower-case words, apostrophes kept."""
    return re.findall(r"[a-z']+", text.lower())


def edits(wanted: list[str], heard: list[str]) -> int:
    """Levenshtein distance in words."""
    row = np.arange(len(heard) + 1)
    for i, word in enumerate(wanted, start=1):
        previous, row = row, np.full(len(heard) + 1, i)
        for j, other in enumerate(heard, start=1):
            row[j] = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (word != other))
    return int(row[-1])


@functools.cache
def _decoder() -> Any:
    return package("pocketsphinx").Decoder(samprate=float(SPEECH_RATE), loglevel="FATAL")
