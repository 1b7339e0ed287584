"""Files too large to be read at once: the same samples, and an error if they become shorter."""

from __future__ import annotations

import gzip
import io
import os
import struct

import numpy as np
import pytest
import soundfile

from codec.audio import AudioReader, content, read_audio
from codec.audio.decode import WaveSource
from codec.audio.libsndfile import SndFile
from codec.errors import AudioError
from codec.support import file_bytes
from codec.support.file_bytes import FileBytes
from tests.helpers.audio_inputs import EVERYTHING, chunk, encoded, flac, mp3, ogg, tone, wav


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


TITLE = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"x"))


@pytest.fixture
def sparse(tmp_path):
    """Writes a WAV whose samples begin with those of `data`, end with 0.5 and are zeros between."""

    def make(data: bytes, size: int, *, stated: int | None = None, behind: bytes = b""):
        at = data.index(b"data") + 8
        path = tmp_path / "large.wav"
        with path.open("wb") as file:
            file.write(
                data[: at - 4] + struct.pack("<I", size % 2**32 if stated is None else stated)
            )
            file.write(data[at:])
            file.seek(at + size - 2)
            file.write(b"\0\x40" + behind)
        return path

    return make


@pytest.mark.parametrize("behind", [b"", TITLE])
@pytest.mark.parametrize("size", [3_000_000_000, 1 << 32, 5_000_000_000, (2 << 32) + 6])
def test_a_size_modulo_4_gb_is_that_of_all_samples(sparse, size, behind):
    path = sparse(wav(), size, behind=behind)
    with AudioReader(path, start=size / 2 / 16_000 - 1) as reader:
        last = np.concatenate(list(reader), axis=1)
    assert reader.claimed == size // 2
    assert last.shape == (1, 16_000)
    assert np.flatnonzero(last).tolist() == [15_999]
    assert (reader.warnings, reader.tags.get("title")) == ([], "x" if behind else None)


@pytest.mark.parametrize("stated", [1000, 7000])
def test_a_size_that_fits_no_end_is_taken_at_its_word(sparse, stated):
    size = (1 << 32) + 5000
    with AudioReader(sparse(wav(), size, stated=stated)) as reader:
        assert reader.claimed == stated // 2
        assert reader.warnings == ["more follows than the WAV claims, which was not read"]


def test_more_than_2_gb_of_a_coding_of_libsndfile_is_handed_over_whole(sparse):
    size = (1 << 32) + 4000
    with sparse(encoded(tone(), "WAV", "ULAW"), size, behind=TITLE).open("rb") as file:
        data = FileBytes(file.fileno())
        decoded = SndFile(data, WaveSource(data).for_decoder(), "wav")
        assert decoded.claimed == size
        decoded.seek(size - 2)
        last = {"format": "RAW", "subtype": "ULAW", "samplerate": 8000, "channels": 1}
        expected, _ = soundfile.read(io.BytesIO(b"\0\x40"), dtype="float32", **last)
        assert decoded.read(9)[:, 0].tolist() == expected.tolist()


def test_adpcm_of_more_than_2_gb_is_not_cut(sparse):
    path = sparse(encoded(tone(), "WAV", "IMA_ADPCM"), 3_000_000_000)
    with path.open("rb") as file, pytest.raises(AudioError, match="more than 2 GB"):
        WaveSource(FileBytes(file.fileno())).for_decoder()
