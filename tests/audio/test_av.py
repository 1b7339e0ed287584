"""What FFmpeg reads for us: told by content, and exact to the sample."""

from __future__ import annotations

import io

import numpy as np
import pytest

from codec.audio import AudioReader
from codec.errors import AudioError
from tests.helpers.audio_inputs import tone

av = pytest.importorskip("av", reason="needs codec[av]")

LOSSLESS = [("ipod", "alac"), ("matroska", "pcm_s16le")]  # container, coder
LOSSY = [("ipod", "aac"), ("adts", "aac"), ("webm", "libopus"), ("ac3", "ac3")]


def made(container, coder, samples=30_011, channels=2, rate=48_000):
    """A file, and the 16-bit samples in it [channels, samples]."""
    audio = np.rint(tone(samples, channels, rate) * 32767).astype(np.int16)
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(coder, rate=rate, layout="stereo" if channels == 2 else "5.1")
        frame = av.AudioFrame.from_ndarray(
            audio.reshape(1, -1), "s16", "stereo" if channels == 2 else "5.1"
        )
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format, stream.layout, rate, stream.frame_size or 4096)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return file.getvalue(), audio.T


def read(data, *stretch):
    with AudioReader(io.BytesIO(data), *stretch) as reader:
        return np.concatenate(list(reader), axis=1), reader


@pytest.mark.parametrize(("container", "coder"), LOSSLESS)
def test_lossless_formats_are_read_as_they_are(container, coder):
    data, audio = made(container, coder)
    found, reader = read(data)
    assert reader.decoder.startswith("FFmpeg")
    assert np.array_equal(found, audio / np.float32(32768))
    assert np.array_equal(read(data, 0.25, 0.1)[0], found[:, 12_000:16_800])
    assert reader.warnings == []


@pytest.mark.parametrize(("container", "coder"), LOSSY)
def test_lossy_formats_are_read_from_their_start(container, coder):
    data, audio = made(container, coder)
    found, reader = read(data)
    assert reader.decoder.startswith("FFmpeg")
    assert reader.sample_rate == 48_000
    assert found.shape[1] >= 28_000
    assert np.array_equal(read(data, 0.25, 0.1)[0], found[:, 12_000:16_800])
    if container == "webm":  # it says by how much the coder delays
        near = found[:, 5000:25_000] - audio[:, 5000:25_000] / np.float32(32768)
        assert np.abs(near).max() < 0.1


@pytest.mark.parametrize(("container", "coder"), LOSSLESS + LOSSY)
def test_what_is_cut_off_is_warned_of_or_refused(container, coder):
    data, audio = made(container, coder, samples=96_000)
    try:
        found, reader = read(data[: len(data) // 2])
    except AudioError:
        return
    assert found.shape[1] < audio.shape[1]
    # A stream of frames without a header does not say how many there were.
    assert reader.warnings or container in ("adts", "ac3")


def test_the_middle_channels_of_aac_are_where_wave_has_them():
    data, audio = made("ipod", "aac", 48_000, 6)
    found, reader = read(data)
    assert reader.tags["channels"] == "FL FR FC LFE BL BR"
    heard, given = (np.abs(np.fft.rfft(x[:, 12_000:36_000])) for x in (found, audio))
    for k in (0, 1, 2, 4, 5):  # the fourth is for low tones only
        assert heard[k].argmax() == given[k].argmax()


def test_eight_channels_in_planes_are_read():
    file = io.BytesIO()
    with av.open(file, "w", format="ipod") as output:
        stream = output.add_stream("aac", rate=48_000, layout="7.1")
        for _ in range(3):
            frame = av.AudioFrame.from_ndarray(tone(1024, 8, 48_000).reshape(1, -1), "flt", "7.1")
            frame.sample_rate = 48_000
            for part in av.AudioResampler("fltp", "7.1", 48_000).resample(frame):
                output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    audio, reader = read(file.getvalue())
    assert audio.shape[0] == 8
    assert reader.tags["channels"] == "FL FR FC LFE BL BR SL SR"
    assert reader.warnings == []


def test_an_mp2_is_not_said_to_be_cut():
    data, _ = made("mp2", "mp2")
    assert read(data)[1].warnings == []


def test_speex_is_read_or_named():
    try:
        data, _ = made("ogg", "libspeex", channels=1, rate=16_000)
    except (av.error.FFmpegError, ValueError, LookupError):
        pytest.skip("this PyAV has no encoder of Speex")
    assert read(data)[0].shape[1] >= 28_000


def test_a_voc_is_read():
    data, audio = made("voc", "pcm_s16le")
    assert np.array_equal(read(data)[0], audio / np.float32(32768))
