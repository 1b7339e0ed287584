"""Signals to train with: all kinds, finite, at the levels asked for, the same for a seed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from bench import synthetic_audio
from bench.synthetic_audio import KINDS, LOUDEST, SAMPLE_RATE, make
from codec.audio.reader import read_audio


@pytest.mark.parametrize("number", range(2 * len(KINDS)))
def test_each_kind_has_a_level_and_does_not_clip(number: int):
    sound = make(number)
    assert sound.dtype == np.float32
    assert len(sound) == 10 * SAMPLE_RATE
    assert np.abs(sound).max() <= LOUDEST
    level = 20 * np.log10(np.sqrt(np.mean(sound.astype(np.float64) ** 2)))
    assert level < -5.9
    quieter_than_asked = level < -50.1  # because of its peaks
    assert not quieter_than_asked or np.abs(sound).max() == pytest.approx(LOUDEST)


def test_it_is_a_function_of_number_and_seed():
    assert np.array_equal(make(3, seed=1), make(3, seed=1))
    assert not np.array_equal(make(3, seed=1), make(3, seed=2))
    assert not np.array_equal(make(3), make(3 + len(KINDS)))


def test_files_have_a_minute_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    arguments = ["synthetic_audio", str(tmp_path / "out"), "--minutes", "2"]
    monkeypatch.setattr(sys, "argv", arguments)
    synthetic_audio.main()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000.flac", "001.flac"]
    audio, rate = read_audio(tmp_path / "out/001.flac")
    assert (audio.shape, rate) == ((1, 60 * SAMPLE_RATE), SAMPLE_RATE)
    expected = np.concatenate([make(number) for number in range(6, 12)])
    assert np.abs(audio[0] - expected).max() <= 2**-15
