"""Audio in and out of arrays and files."""

from __future__ import annotations

import io
import itertools
import resource
import struct

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codec.audio import (
    as_channels,
    as_int16,
    fit,
    read_audio,
    resample,
    resample_blocks,
    resampled_length,
    write_audio,
)
from codec.errors import AudioError


def encoded(audio, rate=24_000, kind="WAV", subtype="FLOAT"):
    file = io.BytesIO()
    soundfile.write(file, audio, rate, format=kind, subtype=subtype)
    return file.getvalue()


@given(hnp.arrays(np.int16, st.tuples(st.integers(1, 3), st.integers(1, 20))))
def test_int16_survives_the_way_through_float(audio):
    floats = as_channels(audio)
    assert floats.dtype == np.float32
    assert np.abs(floats).max() <= 1
    assert np.array_equal(as_int16(floats), audio)


def test_int16_clips_and_rounds():
    floats = np.array([[-2, -1, -0.6 / 32768, 0.4 / 32768, 0.6 / 32768, 1, 3]], np.float32)
    assert as_int16(floats).tolist() == [[-32768, -32768, -1, 0, 1, 32767, 32767]]


def test_one_dimension_is_one_channel_and_beyond_full_scale_is_kept():
    assert as_channels(np.array([0.0, 1.5, -3.0])).tolist() == [[0.0, 1.5, -3.0]]


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros(0, np.float32), "0 samples"),
        (np.zeros((2, 0), np.float32), "0 samples"),
        (np.zeros((0, 5), np.float32), "0 samples"),
        (np.float32(0), "0-D"),
        (np.zeros((1, 1, 5), np.float32), "3-D"),
        (np.zeros(5, np.int32), "not int32"),
        (np.zeros(5, np.complex64), "not complex64"),
        (np.zeros((256, 5), np.float32), "256 channels"),
        (np.array([0, np.nan]), "not finite"),
        (np.array([0, -np.inf, 1]), "not finite"),
        (np.array([np.inf, 0]), "not finite"),
        (np.array([np.nan, 1.0, np.inf]), "not finite"),
        (np.array([0.5, 1e300, 2.0]), r"peaks at 1e\+300; full scale is 1"),  # infinite as float32
        (np.array([-1e200, 1e100]), r"peaks at 1e\+200; full scale is 1"),
        (np.array([32767.0, 0]), "full scale is 1"),
        (np.array([-32767.0, 0]), "full scale is 1"),
    ],
)
def test_what_cannot_be_coded_is_refused(audio, message):
    with pytest.raises(AudioError, match=message):
        as_channels(audio)


@given(
    n=st.integers(1, 400),
    rates=st.tuples(*[st.sampled_from([1000, 8000, 22_050, 24_000, 44_100, 96_000, 768_000])] * 2),
)
def test_resampled_length_covers_the_duration_and_no_more(n, rates):
    source, target = rates
    length = resampled_length(n, source, target)
    assert (length - 1) * source < n * target <= length * source
    out = resample(np.ones(n, np.float32), source, target)
    assert out.shape == (length,)
    assert out.dtype == np.float32


@settings(max_examples=40, deadline=None)
@given(
    rates=st.tuples(*[st.sampled_from([8000, 16_000, 22_050, 24_000, 44_100, 48_000])] * 2),
    n=st.integers(1, 9000),
    channels=st.sampled_from([1, 2, 8]),
    sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=4),
    wanted=st.none() | st.integers(1, 20_000),
)
def test_blocks_are_resampled_as_soxr_resamples_the_whole(rates, n, channels, sizes, wanted):
    source, target = rates
    audio = np.random.default_rng(n).normal(0, 0.2, (channels, n)).astype(np.float32)
    blocks, start = [], 0
    for size in itertools.cycle(sizes):
        if start >= n:
            break
        blocks.append(audio[:, start : start + size])
        start += size
    found = np.concatenate(list(resample_blocks(blocks, source, target, wanted)), axis=1)
    padded = np.pad(audio, ((0, 0), (0, -(-source // target) + 1)))
    whole = np.stack([soxr.resample(channel, source, target, "HQ") for channel in padded])
    expected = audio if source == target else whole
    length = resampled_length(n, source, target) if wanted is None else wanted
    assert np.array_equal(found, fit(expected, length))


def test_resampling_is_aligned_and_runs_to_the_last_sample():
    # A tone below both band limits, faded in and out: what is resampled must be the same tone.
    def tone(rate, n):
        t = np.arange(n) / rate
        return (np.sin(np.pi * t / 0.25) ** 2 * np.sin(2 * np.pi * 700 * t)).astype(np.float32)

    for source, target in [(44_100, 24_000), (24_000, 44_100), (8000, 24_000), (48_000, 24_000)]:
        out = resample(tone(source, source // 4), source, target)
        assert np.abs(out - tone(target, len(out))).max() < 1e-3
    # Where soxr by itself would stop a sample short: the signal goes on, not to zero.
    full = resample(np.ones(99, np.float32), 44_100, 24_000)
    assert full[-1] > 0.3


def test_fit():
    audio = np.arange(1, 4, dtype=np.float32)
    assert [fit(audio, n).tolist() for n in (2, 3, 5)] == [[1, 2], [1, 2, 3], [1, 2, 3, 0, 0]]


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_written_audio_is_read_back(tmp_path, suffix, channels):
    audio = np.random.default_rng(0).integers(-32768, 32768, (channels, 777), np.int16)
    path = tmp_path / f"audio{suffix}"
    write_audio(path, as_channels(audio), 11_025, suffix)
    back, rate = read_audio(path)
    assert rate == 11_025
    assert back.flags.c_contiguous or channels > 1
    assert np.array_equal(as_int16(back), audio)


def test_what_is_too_long_for_wav_becomes_rf64(tmp_path, monkeypatch):
    monkeypatch.setattr("codec.audio.writer.MAX_WAV_BYTES", 1000)
    for samples, magic in ((250, b"RIFF"), (251, b"RF64")):
        audio = np.random.default_rng(0).integers(-32768, 32768, (2, samples), np.int16)
        write_audio(tmp_path / "a.wav", as_channels(audio), 8000, ".wav")
        assert (tmp_path / "a.wav").read_bytes().startswith(magic)
        assert np.array_equal(as_int16(read_audio(tmp_path / "a.wav")[0]), audio)


def test_ogg_is_written(tmp_path):
    tone = np.sin(np.arange(24_000) * 0.1).astype(np.float32)[None] * 0.5
    write_audio(tmp_path / "a.ogg", tone, 24_000, ".ogg")
    back, rate = read_audio(tmp_path / "a.ogg")
    assert (rate, back.shape) == (24_000, (1, 24_000))
    assert np.sqrt(np.mean((back - tone) ** 2)) < 0.05


def test_a_format_that_cannot_hold_it_is_an_error(tmp_path):
    with pytest.raises(AudioError, match=r"at most 8 channels, not 9"):
        write_audio(tmp_path / "a.flac", np.zeros((9, 10), np.float32), 24_000, ".flac")


def test_a_full_disk_is_an_error(tmp_path):
    audio = np.zeros((1, 100_000), np.float32)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(AudioError, match="is the disk full"):
            write_audio(tmp_path / "a.wav", audio, 24_000, ".wav")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_blocks_join(monkeypatch):
    monkeypatch.setattr("codec.audio.arrays._BLOCK_VALUES", 10)
    audio = np.random.default_rng(0).integers(-32768, 32768, (3, 100), np.int16)
    file = io.BytesIO()
    write_audio(file, as_channels(audio), 24_000, ".wav")
    assert np.array_equal(as_int16(read_audio(io.BytesIO(file.getvalue()))[0]), audio)


def test_the_content_says_the_format_not_the_name(tmp_path):
    path = tmp_path / "a.mp3"
    path.write_bytes(encoded(np.full(50, 0.25), kind="FLAC", subtype="PCM_16"))
    assert read_audio(path)[0].tolist() == [[0.25] * 50]


def test_pipes_that_do_not_know_their_length():
    audio = np.linspace(-0.5, 0.5, 1000, dtype=np.float32)
    # WAV as ffmpeg and sox write it to a pipe: sizes of 2^32 - 1.
    wav = bytearray(encoded(audio, subtype="PCM_16"))
    wav[4:8] = wav[40:44] = struct.pack("<I", 0xFFFFFFFF)
    assert read_audio(io.BytesIO(wav))[0].shape == (1, 1000)
    # FLAC: a total of 0, which is unknown.
    flac = bytearray(encoded(audio, kind="FLAC", subtype="PCM_16"))
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    assert read_audio(io.BytesIO(flac))[0].shape == (1, 1000)


def test_unreadable_files(tmp_path):
    flac = encoded(np.zeros((500, 2)), kind="FLAC", subtype="PCM_16")
    for data in (b"", b"hello", b"RIFF" + bytes(40), flac[:50], flac[: len(flac) // 2]):
        with pytest.raises(AudioError, match=r"cannot read audio: \w"):
            read_audio(io.BytesIO(data))
    (tmp_path / "a.raw").write_bytes(bytes(100))
    with pytest.raises(AudioError, match="format not recognised"):
        read_audio(tmp_path / "a.raw")
    with pytest.raises(FileNotFoundError):
        read_audio(tmp_path / "none.wav")
    with pytest.raises(AudioError, match="0 samples"):
        read_audio(io.BytesIO(encoded(np.zeros(0))))
    with pytest.raises(AudioError, match="not finite"):
        read_audio(io.BytesIO(encoded(np.array([0, np.nan]))))
    with pytest.raises(AudioError, match=r"peaks at 1e\+300; full scale is 1"):
        read_audio(io.BytesIO(encoded(np.array([0, -1e300]), subtype="DOUBLE")))
    with pytest.raises(AudioError, match="sample rate of 999 Hz"):
        read_audio(io.BytesIO(encoded(np.zeros(5), rate=999)))
    with pytest.raises(AudioError, match="256 channels"):
        read_audio(io.BytesIO(encoded(np.zeros((5, 256)))))
