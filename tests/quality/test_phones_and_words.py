"""Recognisers as judges: they hear what is said, and nothing in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from codec.errors import MetricError, MissingPackageError
from codec.quality import METRICS, phones, whisper

TEXT = "The same audio gives the same tokens"
CLIP, RATE = soundfile.read(Path(__file__).parents[1] / "clips/speech.flac", dtype="float32")
SILENCE = np.zeros_like(CLIP)


def test_phones() -> None:
    pytest.importorskip("hama")
    rate = METRICS["per"]
    assert rate(CLIP, CLIP, RATE) == 0
    assert rate(CLIP, SILENCE, RATE, TEXT) == 1
    assert rate(CLIP, SILENCE, RATE) == 1
    # A synthetic voice is hard for the recogniser, but it is nearer to its text than to another.
    of_text = rate(CLIP, CLIP, RATE, TEXT)
    assert of_text < rate(CLIP, CLIP, RATE, "Nobody knows how this whole thing ever worked")
    with pytest.raises(MetricError, match="phones in it"):
        rate(SILENCE, CLIP, RATE)


def test_spelling_gives_phones_and_no_spaces() -> None:
    pytest.importorskip("hama")
    assert phones.spoken("hello there") == phones.spoken("hello") + phones.spoken("there")
    assert phones.spoken("hello, there.") == phones.spoken("hello there")


def test_words() -> None:
    pytest.importorskip("torch", reason="openai-whisper needs PyTorch")
    if not METRICS["wer_whisper"].available:
        pytest.skip("needs faster-whisper, openai-whisper and a model")
    rate = METRICS["wer_whisper"]
    heard = rate(CLIP, CLIP, RATE, TEXT)
    assert heard < 0.5
    assert rate(CLIP, CLIP, RATE, TEXT.upper() + "!") == heard
    assert rate(CLIP, SILENCE, RATE, TEXT) >= 1 > heard
    with pytest.raises(MetricError, match="needs a transcript"):
        rate(CLIP, CLIP, RATE, None)


def test_a_model_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(whisper.MODEL_VARIABLE, str(tmp_path))
    with pytest.raises(MissingPackageError, match=r"no model\.bin in"):
        whisper.model_folder()
    (tmp_path / "model.bin").touch()
    assert whisper.model_folder() == tmp_path
