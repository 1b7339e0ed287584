"""Phone error rate: what a recogniser of phones still hears."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np

from codec.errors import MetricError
from codec.quality.pair import SPEECH_RATE, Audio, check_pair, finite, package, resampled
from codec.quality.words import edits


def phone_error_rate(
    reference: Audio, decoded: Audio, sample_rate: int, text: str | None = None
) -> float:
    """Substitutions, insertions and deletions per phone; 0 is best.

    The phones of the decoded audio are what hama's recogniser hears. They are compared with the
    phones that hama's grapheme-to-phoneme model gives for the English `text`; without a text, with
    those that the recogniser hears in the reference. The recogniser errs on originals too: with a
    text, compare with the originals' rate. Raises MetricError if there are no phones to compare
    with, MissingPackageError without hama.
    """
    check_pair(reference, decoded)
    wanted = spoken(text) if text else recognise(reference, sample_rate)
    if not wanted:
        raise MetricError("the phone error rate needs a reference with phones in it")
    return finite(edits(wanted, recognise(decoded, sample_rate)) / len(wanted))


def recognise(audio: Audio, sample_rate: int) -> list[str]:
    """Return the IPA phones that hama hears in `audio` [samples]."""
    return list(_recognised(audio.astype(np.float32).tobytes(), sample_rate))


@functools.lru_cache(maxsize=4)  # a reference that many codecs are compared with, in turn
def _recognised(samples: bytes, sample_rate: int) -> tuple[str, ...]:
    audio = resampled(np.frombuffer(samples, np.float32), sample_rate, SPEECH_RATE)
    return tuple(_recogniser()(audio, SPEECH_RATE).phonemes)


def spoken(text: str) -> list[str]:
    """Return the IPA phones of an English text, by hama's grapheme-to-phoneme model.

    Punctuation is left out: the model would read it as letters of some other language.
    """
    words = re.sub(r"[^\w']+", " ", text).strip()
    return [found.phoneme for found in _speller()(words).alignments]


@functools.cache
def _recogniser() -> Any:
    return package("hama").ASRModel()


@functools.cache
def _speller() -> Any:
    return package("hama").G2PModel()
