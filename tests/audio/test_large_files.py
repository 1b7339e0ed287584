"""Files too large to be read at once: the same samples, and an error if they become shorter."""

from __future__ import annotations

import gzip
import os

import numpy as np
import pytest

from codec.audio import AudioReader, content, read_audio
from codec.errors import AudioError
from codec.support import file_bytes
from tests.helpers.audio_inputs import EVERYTHING, flac, mp3, ogg, tone, wav


@pytest.mark.parametrize("kind", EVERYTHING)
def test_the_samples_are_the_same(tmp_path, monkeypatch, kind):
    path = tmp_path / "x"
    path.write_bytes(EVERYTHING[kind]())
    expected, rate = read_audio(path)
    monkeypatch.setattr(content, "_IN_MEMORY", 0)
    monkeypatch.setattr(file_bytes, "WINDOW", 999)
    found = read_audio(path)
    assert found[1] == rate
    assert np.array_equal(found[0], expected)


@pytest.mark.parametrize(
    "make", [lambda: wav(audio=tone(400_000)), lambda: flac(400_000), lambda: ogg(400_000),
             lambda: mp3(400_000)], ids=["wav", "flac", "vorbis", "mp3"],
)  # fmt: skip
def test_a_file_that_becomes_shorter_is_an_error(tmp_path, monkeypatch, make):
    path = tmp_path / "x"
    path.write_bytes(make())
    monkeypatch.setattr(content, "_IN_MEMORY", 0)
    monkeypatch.setattr(file_bytes, "WINDOW", 99)
    with AudioReader(path) as reader:
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(OSError, match="became shorter"):
            list(reader)


def test_a_file_that_decompresses_is_read_as_what_it_gives(tmp_path):
    for name in ("wav", "adpcm"):
        with gzip.open(tmp_path / "x.gz", "wb") as packed:
            packed.write(EVERYTHING[name]())
        with gzip.open(tmp_path / "x.gz") as packed:
            assert read_audio(packed)[0].size
        with pytest.raises(AudioError, match="not recognised"):
            read_audio(tmp_path / "x.gz")
