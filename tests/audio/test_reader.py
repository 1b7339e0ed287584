"""What real files do wrong: nothing lost, cut, permuted or misread without a word."""

from __future__ import annotations

import io
import itertools
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from codec.audio import AudioReader, AudioWriter, extents, riff, write_audio
from codec.audio.channels import VORBIS_FROM_WAVE, WAVE_FROM_VORBIS
from codec.audio.pipes import NotStreamableError, open_wav
from codec.audio.resample import resample
from codec.errors import AudioError
from tests.helpers import audio_inputs as inputs
from tests.helpers.audio_inputs import chunk, pcm, tone, wav
from tests.helpers.processes import python

CLIPS = Path(__file__).parents[1] / "clips"


def read(data, **options):
    """Samples [channels, samples], and the reader when it is done."""
    with AudioReader(io.BytesIO(data), **options) as reader:
        return np.concatenate(list(reader), axis=1), reader


def piped(data):
    """What a pipe gives of `data`, by way of a file where it does not stream."""

    class Pipe(io.BytesIO):
        def seek(self, *_):
            raise OSError("a pipe")

    pipe = Pipe(data)
    try:
        stream = open_wav(pipe)
    except NotStreamableError as error:
        return read(error.consumed + pipe.read())
    audio = np.concatenate(list(stream), axis=1)
    assert not pipe.read(), "something was left in the pipe, whose writer would fail"
    return audio, stream


PCM = np.rint(tone() * 32767).T.astype(np.float32) / np.float32(32768)
BIG = 1_200_001
INTACT = {
    "as it is": wav(),
    "called anything": wav(magic=b"RIFF", whole=0),
    "data size 0": wav(size=0),
    "data size 0, riff 36": wav(size=0, whole=36),
    "data size of all ones": wav(size=0xFFFF_FFFF, whole=0xFFFF_FFFF),
    "data size of 2^31": wav(size=0x7FFF_F000),
    "rf64 without sizes": wav(magic=b"RF64", size=0xFFFF_FFFF, whole=0xFFFF_FFFF),
    "bw64": wav(magic=b"BW64", size=0xFFFF_FFFF, whole=0xFFFF_FFFF),
    "bw64 with a size": wav(magic=b"BW64"),
    "a picture in front": wav(chunk(b"id3 ", bytes(BIG))),
    "many chunks in front": wav(*[chunk(b"junk", bytes(99_999))] * 30),
    "odd, no pad": wav(chunk(b"LIST", b"INFOISFT\3\0\0\0abc", pad=False)),
    "odd, no pad, big": wav(chunk(b"id3 ", bytes(BIG), pad=False)),
    "odd, no pad, twice": wav(chunk(b"odd ", b"1", pad=False), chunk(b"bext", b"123", pad=False)),
    "odd, padded by a letter": wav(b"LIST\x0f\0\0\0INFOISFT\3\0\0\0abcX", chunk(b"junk", b"")),
    "an id3v2 tag in front of all": inputs.id3(3000) + wav(),
    "a list that leads back": wav(inputs.HOSTILE_LIST),
    "a list of nothing": wav(chunk(b"LIST", b""), chunk(b"LIST", b"INFO"), chunk(b"LIST", b"IN")),
    "a list beyond its chunk": wav(chunk(b"LIST", b"INFOINAM\xff\xff\xff\x7fabcd")),
    "chunks behind": wav(behind=chunk(b"id3 ", bytes(400_000)) + chunk(b"LIST", b"INFO")),
    "an id3v1 tag behind": wav(behind=inputs.ID3V1),
}


@pytest.mark.parametrize("name", INTACT)
def test_a_wav_is_read_whole_from_a_file_and_from_a_pipe(name):
    for audio, reader in (read(INTACT[name]), piped(INTACT[name])):
        assert np.array_equal(audio, PCM)
        assert reader.warnings == []


@pytest.mark.parametrize(
    "data",
    [
        wav()[:9000],
        wav(magic=b"BW64")[:9000],
        wav(chunk(b"id3 ", bytes(BIG)))[: BIG + 9001],
        wav(audio=tone(channels=5), mask=0x37)[:9000],
    ],
)
def test_a_wav_that_is_cut_off_says_how_much_is_there(data):
    warned = []
    for audio, reader in (read(data), piped(data)):
        assert 0 < audio.shape[1] < 8000
        assert reader.warnings == [f"cut off: {audio.shape[1]} of 8000 samples are there"]
        warned.append(audio)
    assert np.array_equal(*warned)
    with pytest.raises(AudioError, match="cut off"):
        read(data, strict=True)


@pytest.mark.parametrize(
    "data",
    [
        wav()[:30],
        wav()[:12],
        b"RIFF\x24\0\0\0WAVEdata\4\0\0\0abcd",
        wav(chunk(b"LIST", b"", size=0x7FFF_FFFF)),
        wav(size=0, audio=tone(0), behind=chunk(b"LIST", b"INFO")),
        wav(size=0, audio=tone(0)),
    ],
)
def test_a_wav_of_no_samples_is_an_error(data):
    with pytest.raises(AudioError):
        read(data)
    with pytest.raises((AudioError, ValueError)):
        piped(data)


def test_a_second_wav_behind_the_first_is_warned_of():
    audio, reader = read(wav() * 2)
    assert np.array_equal(audio, PCM)
    assert reader.warnings == ["another WAV follows, which was not read"]


@pytest.mark.parametrize("subtype", ["ALAW", "ULAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"])
@pytest.mark.parametrize("before", [b"", inputs.HOSTILE_LIST])
def test_other_codings_in_wav_are_read_by_libsndfile(subtype, before):
    data = inputs.encoded(tone(6400), "WAV", subtype)
    expected = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0].T
    audio, reader = read(data[:12] + before + data[12:])
    assert np.array_equal(audio[:, :6400], expected[:, :6400])
    assert reader.decoder.startswith("libsndfile")


def test_what_is_no_audio_is_not_recognised(tmp_path):
    random = np.random.default_rng(0)
    for data in (
        b"",
        b"<!DOCTYPE html><html><body>404</body></html>" * 20,
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        random.bytes(100_000),
        bytes(100_000),
        b"\xff" * 100_000,
        b"#EXTM3U\n/etc/passwd\n",
        b"\xff\xd8\xff\xe0JFIF" + random.bytes(5000),
    ):
        for suffix in ("mp3", "au", "raw", "vox", "gsm", "wav"):
            path = tmp_path / f"a.{suffix}"
            path.write_bytes(data)
            with pytest.raises(AudioError, match="format not recognised"), AudioReader(path) as r:
                list(r)


@pytest.mark.parametrize("suffix", ["raw", "mp3", "txt", "flac", ""])
def test_the_name_says_nothing(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(wav())
    with AudioReader(path) as reader:
        assert np.array_equal(np.concatenate(list(reader), axis=1), PCM)


def test_without_pyav_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr("codec.audio.libav.available", lambda: False)
    mp4 = struct.pack(">I", 24) + b"ftypM4A " + bytes(200)
    webm = b"\x1aE\xdf\xa3" + bytes(200)
    for data in (inputs.adts(), mp4, webm, b"\x0b\x77" + bytes(200)):
        with pytest.raises(AudioError, match=r"pip install 'codec\[av\]'"):
            read(data)


@pytest.mark.parametrize("samples", [3 * inputs.RATE, 7 * inputs.RATE])
def test_an_mp3_of_many_bitrates_without_a_header_is_read_whole(samples):
    data = inputs.bare_mp3(samples)
    at = count = 0
    lengths = set()
    while at < len(data):
        lengths.add(inputs.frame_bytes(data, at))
        at, count = at + inputs.frame_bytes(data, at), count + 1
    assert len(lengths) > 2, "not of many bitrates"
    audio, reader = read(data)
    assert audio.shape[1] == reader.claimed == 576 * count
    start = 20_000 / inputs.RATE
    later = read(data, start=start, duration=0.5)[0]
    assert later.shape == (1, 8000)
    for tags in (inputs.ID3V1, inputs.APE, inputs.ID3V1 + inputs.APE, bytes(3000)):
        assert np.array_equal(read(inputs.id3(5000) + data + tags)[0], audio)


def test_joined_mp3s_are_read_whole():
    one, two = inputs.mp3(), inputs.bare_mp3()
    first, second = read(one)[0].shape[1], read(two)[0].shape[1]
    for data in (one + two, one + inputs.ID3V1 + inputs.id3(3000) + two):
        assert read(data)[0].shape[1] >= first + second
    # The header of the second is a frame of silence, and nothing is trimmed in between.
    assert read(one + one)[0].shape[1] >= 2 * first


def test_an_mp3_that_is_cut_off_or_has_a_hole_says_so():
    data = inputs.mp3()
    whole = read(data)[0].shape[1]
    audio, reader = read(data[: len(data) // 2])
    assert reader.warnings == [f"cut off: {audio.shape[1]} of {reader.claimed} samples are there"]
    assert 0.2 * whole < audio.shape[1] < 0.8 * whole
    third = len(data) // 3
    holed = data[:third] + bytes(700) + data[third + 900 :]
    audio, reader = read(holed)
    assert any("damaged" in text for text in reader.warnings)
    assert audio.shape[1] > 0.5 * whole


@pytest.mark.parametrize("kind", ["VORBIS", "OPUS"])
def test_chained_ogg_is_read_whole(kind):
    one, two = inputs.ogg(16_000, 1, kind), inputs.ogg(30_000, 1, kind)
    a, b = read(one)[0], read(two)[0]
    joined, reader = read(one + two + one)
    assert np.array_equal(joined, np.concatenate([a, b, a], axis=1))
    assert reader.warnings == []
    rate = reader.sample_rate
    for start in (0, 100, a.shape[1] - 1, a.shape[1], a.shape[1] + 5000):
        stretch = read(one + two + one, start=start / rate, duration=3000 / rate)[0]
        # Vorbis is decoded from a seek on with the same bits; Opus settles first.
        assert stretch.shape == (1, 3000)
        assert np.abs(stretch - joined[:, start : start + 3000]).max() < 0.05
    with pytest.raises(AudioError, match="the audio ends before"):
        read(one + two, start=10)
    with pytest.raises(AudioError, match="changes"):
        read(one + inputs.ogg(16_000, 2, kind))


@pytest.mark.parametrize("samples", [3000, 44_100, 131_000])
def test_vorbis_is_the_same_from_any_sample_on(samples):
    """Also in the last page, whose end is trimmed; and in that of the first of two links."""
    one = inputs.ogg(samples, 2, "VORBIS")
    for data in (one, one + inputs.ogg(30_000, 2, "VORBIS")):
        whole, reader = read(data)
        places = [*np.linspace(0, whole.shape[1] - 1, 23).astype(int), samples - 1]
        for place in places:
            rest = read(data, start=(place + 0.25) / reader.sample_rate)[0]
            assert np.array_equal(rest, whole[:, place:]), place


@pytest.mark.parametrize("clip", ["speech", "strings"])
@pytest.mark.parametrize("level", [0.5, 0.9, 1.0])
def test_opus_is_the_same_from_any_sample_on(clip, level):
    compressed(clip, level, 0, 48_000, format="OGG", subtype="OPUS")


@pytest.mark.parametrize("clip", ["speech", "strings"])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_mp3_is_the_same_from_any_sample_on(clip, mode):
    """But for the last bit: 2^-24, where full scale is 1."""
    kind = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": mode}
    compressed(clip, 0.9, 2**-24, 24_000, **kind)


def compressed(clip, level, most, rate, **kind):
    audio, own = soundfile.read(CLIPS / f"{clip}.flac", dtype="float32")
    file = io.BytesIO()
    samples = resample(audio, own, rate)
    soundfile.write(file, samples, rate, compression_level=level, **kind)
    whole, _ = read(file.getvalue())
    for place in np.linspace(0, whole.shape[1] - 100, 25).astype(int):
        rest = read(file.getvalue(), start=(place + 0.25) / rate)[0]
        assert rest.shape == whole[:, place:].shape
        assert np.abs(rest - whole[:, place:]).max() <= most


@pytest.mark.parametrize("kind", ["VORBIS", "OPUS"])
def test_an_ogg_that_is_cut_off_says_so(kind):
    data = inputs.ogg(96_000, 2, kind)
    audio, reader = read(data[: len(data) * 2 // 3])
    assert reader.warnings[0] == f"cut off: {audio.shape[1]} samples are there"
    with pytest.raises(AudioError, match="cut off"):
        read(data[: len(data) * 2 // 3], strict=True)


def test_flac_in_ogg_is_flac():
    expected = read(inputs.flac())[0]
    assert np.array_equal(read(inputs.flac_in_ogg())[0], expected)
    assert np.array_equal(read(inputs.flac_in_ogg() * 2)[0], np.tile(expected, 2))
    start = 5000 / inputs.RATE
    assert np.array_equal(read(inputs.flac_in_ogg(), start=start)[0], expected[:, 5000:])


@pytest.mark.parametrize("total", [0, 1, 8000, 16_000, 20_000])
def test_a_flac_is_read_to_its_end_whatever_it_claims(total):
    data = inputs.with_total(inputs.flac(), total)
    expected = read(inputs.flac())[0]
    for tags in (b"", inputs.ID3V1, inputs.APE):
        audio, reader = read(data + tags)
        assert np.array_equal(audio, expected)
        short = ["cut off: 16000 of 20000 samples are there"]
        assert reader.warnings == (short if total == 20_000 else [])
    assert np.array_equal(read(inputs.id3(300) + data)[0], expected)
    assert np.array_equal(read(data + data)[0], np.tile(expected, 2))
    assert np.array_equal(read(data, start=0.75)[0], expected[:, 12_000:])


def test_a_caf_from_a_pipe_is_read():
    for size in (-1, 4 + 2 * 8000, 1 << 40):
        assert np.array_equal(read(inputs.caf(size=size))[0], PCM)


@pytest.mark.parametrize("kind", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6, 7, 8])
def test_channels_come_in_the_order_of_wave_and_go_back_to_that_of_vorbis(kind, channels):
    # Each channel has a pitch of its own, by which it is known again: an LFE is low.
    rate = 48_000
    pitches = 40 + 10 * np.arange(channels)
    audio = 0.3 * np.sin(2 * np.pi * np.arange(rate)[:, None] / rate * pitches).astype(np.float32)
    file = io.BytesIO()
    order = VORBIS_FROM_WAVE.get(channels, tuple(range(channels)))
    soundfile.write(file, audio[:, order], rate, format="OGG", subtype=kind)
    found, reader = read(file.getvalue())
    heard = np.abs(np.fft.rfft(found[:, 12_000:36_000])).argmax(axis=1) * 2
    assert heard.tolist() == pitches.tolist()
    assert len(reader.tags.get("channels", "").split()) == (channels if channels > 2 else 0)
    if kind == "VORBIS":
        target = io.BytesIO()
        write_audio(target, np.ascontiguousarray(audio.T), rate, ".ogg")
        back = read(target.getvalue())[0]
        assert np.abs(back - audio.T).max() < 0.2
        stored = soundfile.read(io.BytesIO(target.getvalue()), always_2d=True)[0]
        assert np.abs(stored - audio[:, order]).max() < 0.2


def test_orders_of_channels_are_permutations_and_inverse():
    for count, order in WAVE_FROM_VORBIS.items():
        assert [order[k] for k in VORBIS_FROM_WAVE[count]] == list(range(count))


def test_speakers_are_those_of_the_mask():
    assert read(wav(audio=tone(channels=5), mask=0x37))[1].tags["channels"] == "FL FR FC BL BR"
    assert piped(wav(audio=tone(channels=4), mask=0x107))[1].tags["channels"] == "FL FR FC BC"
    assert "channels" not in read(wav(audio=tone(channels=4)))[1].tags


def test_tags_of_a_wav():
    tags = chunk(b"INAM", b"A title\0") + chunk(b"IART", b"odd") + chunk(b"XXXX", b"1")
    listed = chunk(b"LIST", b"INFO" + tags)
    for data in (wav(listed), wav(behind=listed)):
        assert read(data)[1].tags == {"title": "A title", "artist": "odd"}
    named = chunk(b"INAM", "Café".encode("cp1252")) + chunk(b"IART", "Žižek".encode())
    tags = read(wav(chunk(b"LIST", b"INFO" + named + chunk(b"IPRT", b"7"))))[1].tags
    assert tags == {"title": "Café", "artist": "Žižek", "tracknumber": "7"}


@pytest.mark.parametrize(
    ("rate", "channels", "message"),
    [(200_001, 1, "200001 Hz"), (700_000, 1, "700000 Hz"), (44_100, 9, "8 channels, not 9")],
)
def test_what_flac_cannot_hold_is_named(tmp_path, rate, channels, message):
    with pytest.raises(AudioError, match=f"FLAC has .*{message}"):
        AudioWriter(tmp_path / "a.flac", rate, channels, 10, ".flac")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rate", [1000, 65_535, 200_000, 200_010, 655_350])
def test_what_flac_can_hold_is_written(rate):
    file = io.BytesIO()
    write_audio(file, np.zeros((1, 100), np.float32), rate, ".flac")
    assert read(file.getvalue())[1].sample_rate == rate


def test_an_ogg_of_a_rate_beyond_its_library_is_refused():
    # In another process, as the library crashes when it is asked.
    code = """
import io, numpy
from codec.audio import write_audio
from codec.errors import AudioError
for rate in (200_000, 200_001, 768_000):
    try:
        write_audio(io.BytesIO(), numpy.zeros((1, 100), numpy.float32), rate, ".ogg")
    except AudioError as error:
        print(error)
"""
    wrong = "Ogg Vorbis has no sample rate of {} Hz; choose .wav\n"
    assert python(code) == wrong.format(200_001) + wrong.format(768_000)


def test_a_decoder_that_does_not_come_back_is_ended(monkeypatch):
    from codec.audio import helper

    for child, error, message in (
        ("while True: pass", AudioError, "did not come back"),
        ("import os; os.abort()", AudioError, "crashed"),
        # what is no fault of the file
        ("import os; os.kill(os.getpid(), 9)", helper.DecoderEndedError, "signal 9"),
        ("raise MemoryError", helper.DecoderEndedError, "status 1"),
    ):
        monkeypatch.setattr(helper, "PATIENCE", 1.0)
        monkeypatch.setattr(helper, "_CHILD", child)
        with pytest.raises(error, match=message):
            read(inputs.encoded(tone(), "AIFF", "PCM_16"))


@pytest.mark.slow
def test_time_in_which_the_reader_was_stopped_does_not_count(tmp_path):
    """As by Ctrl-Z: the decoder, which was stopped as well, has had no time to answer."""
    (tmp_path / "a.aiff").write_bytes(inputs.encoded(tone(), "AIFF", "PCM_16"))
    code = f"""
import os, signal, subprocess, sys
from pathlib import Path
from codec.audio import helper, read_audio
helper.PATIENCE = 8.0
# The child first stops its parent, and lets it go on much later.
helper._CHILD = ("import os, signal, sys, time; os.kill(int(sys.argv[2]), signal.SIGSTOP);"
    "time.sleep(9); os.kill(int(sys.argv[2]), signal.SIGCONT);" + helper._CHILD)
print(read_audio(Path({str(tmp_path / "a.aiff")!r}))[0].shape)
"""
    assert python(code) == "(1, 8000)\n"


def test_decoders_are_silent():
    """Nothing on standard error that does not name a file."""
    data = inputs.mp3()
    third = len(data) // 3
    holed = data[:third] + bytes(700) + data[third + 900 :] + b"junk" * 999
    run = subprocess.run(
        [sys.executable, "-c", "import sys, io; from codec.audio import read_audio;"
         "read_audio(io.BytesIO(sys.stdin.buffer.read()))"],
        input=holed, capture_output=True, check=True,
    )  # fmt: skip
    assert run.stderr == b""


@pytest.mark.parametrize(
    ("kind", "subtype"), [("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16"), ("WAV", "ALAW")]
)
def test_a_file_of_libsndfile_that_is_cut_off_says_so(kind, subtype):
    data = inputs.encoded(tone(), kind, subtype)
    assert read(data)[1].warnings == []
    audio, reader = read(data[: len(data) // 2])
    assert 0 < audio.shape[1] < 8000
    assert len(reader.warnings) == 1
    assert reader.warnings[0].startswith(f"cut off: {audio.shape[1]} ")


def test_mp3s_of_two_rates_in_one_are_warned_of():
    other = inputs.encoded(tone(48_000, 1, 44_100), "MP3", "MPEG_LAYER_III", 44_100)
    audio, reader = read(inputs.mp3() + other)
    assert audio.shape[1] >= 3 * inputs.RATE
    assert any("left out" in text for text in reader.warnings)


@pytest.mark.parametrize(
    "behind", [chunk(b"data", b"abcd"), chunk(b"LIST", b"x" * 9) + chunk(b"data", b"ab"), wav()]
)
def test_samples_behind_the_samples_are_warned_of(behind):
    for audio, source in (read(wav(behind=behind)), piped(wav(behind=behind))):
        assert audio.shape == (1, 8000)
        assert len(source.warnings) == 1
        assert "follows, which was not read" in source.warnings[0]
    with pytest.raises(AudioError, match="was not read"):
        read(wav(behind=behind), strict=True)


@pytest.mark.parametrize("size", [0, 1000, 0xFFFF_FFFF])
def test_an_au_is_read_to_its_end_whatever_its_size(size):
    data = inputs.encoded(tone(), "AU", "PCM_16")
    audio, reader = read(data[:8] + struct.pack(">I", size) + data[12:])
    assert audio.shape == (1, 8000)
    assert reader.warnings == []


def test_zeros_behind_an_au_or_a_caf_are_no_samples_and_not_searched():
    for kind in ("AU", "CAF"):
        data = inputs.encoded(tone(), kind, "PCM_16")
        audio, reader = read(data + bytes(3 << 20))
        assert np.array_equal(audio, read(data)[0])
        assert reader.warnings == []
    assert extents.finished_caf(data + bytes(100)) == [(0, len(data))]


@pytest.mark.parametrize("kind", ["AIFF", "AU", "CAF", "W64"])
def test_doubles_beyond_float32_are_too_loud_in_every_format(kind):
    audio = tone().astype(np.float64)
    assert np.array_equal(read(inputs.encoded(audio, kind, "DOUBLE"))[0].T, tone())
    audio[5000] = -1e300
    with pytest.raises(AudioError, match=r"audio peaks at 1e\+300; full scale is 1"):
        read(inputs.encoded(audio, kind, "DOUBLE"))
    audio[5000] = np.inf
    with pytest.raises(AudioError, match="not finite"):
        read(inputs.encoded(audio, kind, "DOUBLE"))


@pytest.mark.parametrize("total", [0, 300_000])
@pytest.mark.parametrize("behind", [bytes(4), bytes(5000), b"junk" * 500, b"TAG" + bytes(150)])
def test_what_follows_a_flac_is_left_out_with_a_warning(behind, total):
    data = inputs.with_total(inputs.flac(300_000), total)
    audio, reader = read(data + behind)
    assert np.array_equal(audio, read(data)[0])
    assert reader.warnings == ["joined: what follows the audio cannot be decoded, and was left out"]
    cut, reader = read(data[: len(data) // 2] + behind)
    assert 100_000 < cut.shape[1] < 200_000
    assert np.array_equal(cut, audio[:, : cut.shape[1]])
    assert reader.warnings[0].startswith(f"cut off: {cut.shape[1]} ")


def test_a_tag_with_a_footer_does_not_hide_an_mp3():
    tag = inputs.id3(300)
    footed = tag[:3] + b"\4\0\x10" + tag[6:] + b"3DI\4\0\x10" + tag[6:10]
    assert np.array_equal(read(footed + inputs.mp3())[0], read(inputs.mp3())[0])


def test_a_big_endian_wav_that_is_cut_off_says_so():
    audio = np.rint(tone() * 32767).astype(">i2").tobytes()
    format_ = b"fmt " + struct.pack(">IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    head = b"RIFX" + struct.pack(">I", len(audio) + 36) + b"WAVE" + format_
    data = head + b"data" + struct.pack(">I", len(audio)) + audio
    assert read(data)[1].warnings == []
    assert read(data[:-400])[1].warnings == ["cut off: 7800 samples are there"]


@pytest.mark.parametrize("silence", [0, 8, 4000, 3 << 20])
def test_samples_beyond_the_size_of_a_wav_are_warned_of(silence):
    """A recorder was killed after it had written a size, or the size exceeded 32 bits."""
    data = wav(behind=bytes(silence) + pcm(tone()))
    for audio, source in (read(data), piped(data)):
        assert audio.shape == (1, 8000)
        assert source.warnings == ["more follows than the WAV claims, which was not read"]
    with pytest.raises(AudioError, match="more follows"):
        read(data, strict=True)


@pytest.mark.parametrize("behind", [b"\x80" * 3000, bytes(range(128, 256)) * 20])
def test_samples_beyond_an_odd_size_are_warned_of(behind):
    data = inputs.encoded(tone(7999), "WAV", "PCM_U8")[: 44 + 7999]
    for tail, said in (
        (b"", []),
        (b"\0", []),
        (chunk(b"note", b"x"), []),  # without the pad byte before it
        (b"\0" + chunk(b"note", b"x"), []),
        (behind, ["more follows than the WAV claims, which was not read"]),
    ):
        for audio, source in (read(data + tail), piped(data + tail)):
            assert audio.shape == (1, 7999)
            assert source.warnings == said


def test_what_follows_samples_of_adpcm_is_no_sample_and_is_told():
    data = inputs.encoded(tone(), "WAV", "IMA_ADPCM")
    tags = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"x"))
    audio, reader = read(data + tags)
    assert (reader.tags["title"], reader.warnings) == ("x", [])
    assert np.array_equal(audio, read(data)[0])
    audio, reader = read(data + pcm(tone()))
    assert reader.warnings == ["more follows than the WAV claims, which was not read"]
    assert np.array_equal(audio, read(data)[0])


@pytest.mark.parametrize("n_zeros", [1, 7, 8, 4000])
def test_zeros_and_tags_behind_a_wav_are_no_samples(n_zeros):
    tags = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"x"))
    _, reader = read(wav(behind=tags + bytes(n_zeros)))
    assert (reader.tags["title"], reader.warnings) == ("x", [])
    _, reader = read(wav(behind=bytes(n_zeros // 8 * 8) + tags))
    assert (reader.tags["title"], reader.warnings) == ("x", [])


def test_gigabytes_of_zeros_behind_a_wav_take_few_steps():
    """Recorders allocate ahead; a step for each eight bytes of 4 GB takes minutes."""

    def take(size):
        nonlocal left
        size = min(size, left)
        left -= size
        assert next(steps) < 1 << 18
        return bytes(size)

    for letters in (0, 3, 4):
        left, steps = 1 << 29, itertools.count(1)
        assert riff.tags_behind(take, lambda size: None, letters=letters) == {}


@pytest.mark.parametrize("kind", ["W64", "AIFF", "CAF", "AU"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_S8"])
def test_of_two_joined_files_the_second_is_told(kind, subtype):
    for samples in (7999, 8000, 8001, 8002):
        coding = "PCM_U8" if (kind, subtype) == ("W64", "PCM_S8") else subtype
        data = inputs.encoded(tone(samples), kind, coding)
        for whole, two in ((read(data), read(data + data)), (piped(data), piped(data + data))):
            assert np.array_equal(two[0], whole[0])
            assert whole[1].warnings == []
            assert ["follows, which was not read" in text for text in two[1].warnings] == [True]
        with pytest.raises(AudioError, match="follows, which was not read"):
            read(data + data, strict=True)


def riff_of(form: bytes, body: bytes) -> bytes:
    whole = b"WAVE" + chunk(b"fmt ", form) + chunk(b"data", body)
    return b"RIFF" + struct.pack("<I", len(whole)) + whole


def test_24_bits_in_containers_of_32_are_at_their_top():
    """Also where an extensible header states the bits that are used, against the standard."""
    samples = np.random.default_rng(0).integers(-(2**23), 2**23, (500, 2))
    body = (samples << 8).astype("<i4").tobytes()
    guid = bytes.fromhex("0100000000001000800000aa00389b71")
    expected = (samples / 2**23).astype(np.float32).T
    for stated in (24, 32):
        head = struct.pack("<HHIIHH", 0xFFFE, 2, 24_000, 192_000, 8, stated)
        head += struct.pack("<HHI", 22, 24, 3) + guid
        audio, reader = read(riff_of(head, body))
        assert np.array_equal(audio, expected)
        assert reader.warnings == []


@pytest.mark.parametrize("bitrate", [32, 64])
def test_mp3_in_wav_is_not_short_of_what_is_guessed_from_its_bytes(bitrate):
    mp3 = inputs.bare_mp3(48_000)
    form = struct.pack("<HHIIHH", 0x55, 1, inputs.RATE, bitrate * 125, 1, 0)
    form += struct.pack("<HHIHHH", 12, 1, 2, 576, 1, 1393)
    audio, reader = read(riff_of(form, mp3))
    assert audio.shape[1] >= 48_000
    assert reader.warnings == []


def test_mp3_in_wav_that_is_damaged_says_so():
    mp3 = inputs.bare_mp3()
    holed = mp3[: len(mp3) // 2] + bytes(999) + mp3[len(mp3) // 2 :]
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, inputs.RATE, 8000, 1, 0, 12, 1, 2, 576, 1, 1393)
    assert read(riff_of(form, holed))[1].warnings == read(holed)[1].warnings != []


@pytest.mark.parametrize(
    ("raised", "error", "message"),
    [
        ("OSError(5, 'x')", OSError, "Errno 5"),
        ("MemoryError()", AudioError, "too much memory"),
        ("KeyError('odd')", AudioError, "failed on this file: KeyError: 'odd'"),
    ],
)
def test_what_is_raised_in_the_decoder_is_told(monkeypatch, raised, error, message):
    from codec.audio import helper, libav

    monkeypatch.setattr(libav, "available", lambda: False)  # which would be tried then
    patch = (
        "import codec.audio.decode as d\ndef fails(*_, **__):\n"
        f"    raise {raised}\nd.SndFile = fails\n"
    )
    child = helper._CHILD.replace(
        "from codec.audio.decode import", patch + "from codec.audio.decode import"
    )
    monkeypatch.setattr(helper, "_CHILD", child.replace("; ", "\n").replace(";", "\n"))
    with pytest.raises(error, match=message):
        read(inputs.encoded(tone(), "AIFF", "PCM_16"))
