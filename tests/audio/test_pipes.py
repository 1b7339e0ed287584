"""WAV and raw samples through pipes, and coding while they arrive."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import codec
from bench.random_weights import SMALL, VARIANTS, noise, write_weights
from codec.audio import as_int16, read_audio
from codec.audio.formats import TAGS
from codec.audio.pipes import NotStreamableError, SampleSink, SampleStream, open_wav
from codec.audio.writer import AudioWriter
from codec.errors import AudioError, CodecError, FormatError
from codec.nac.layout import HEADER_BYTES, TRAILER_BYTES, Header, index_bytes
from codec.nac.reader import Reader
from codec.nac.writer import Writer
from tests.helpers.enhancers import write_enhancer

ROOT = Path(codec.__file__).parents[1]


class Dribble(io.BytesIO):
    """A pipe that gives a few bytes at a time, never a whole number of samples."""

    def read1(self, size=-1):
        return super().read1(min(size, 1001) if size >= 0 else 1001)


def wav_of(audio, rate, subtype, container="WAV"):
    file = io.BytesIO()
    soundfile.write(file, audio, rate, subtype=subtype, format=container)
    return file.getvalue()


def read_stream(data):
    stream = open_wav(Dribble(data))
    audio = np.concatenate(list(stream), axis=1)
    assert stream.n_samples == audio.shape[1]
    return audio, stream.sample_rate


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_a_wav_arrives_as_it_is_read(channels, container, subtype):
    audio = np.random.default_rng(0).uniform(-1, 1, (777, channels))
    data = wav_of(audio, 44_100, subtype, container)
    expected, rate = read_audio(io.BytesIO(data))
    found, found_rate = read_stream(data)
    assert np.array_equal(found, expected)
    assert found_rate == rate == 44_100


def test_sizes_that_nobody_knew():
    data = wav_of(np.full((500, 1), 0.25), 8000, "PCM_16")
    for size in (0, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF):
        endless = data[:40] + struct.pack("<I", size) + data[44:]
        assert read_stream(endless + bytes(100))[0].shape == (1, 550)
    # A size that is one is kept to: what follows is no audio.
    assert read_stream(data + b"LIST\4\0\0\0abcd")[0].shape == (1, 500)
    assert read_stream(data[:-101])[0].shape == (1, 449)


@pytest.mark.parametrize("size", [0x7FFE_FFFE, 0x8001_0000, 3_000_000_000, 0xFFFE_FFFE])
def test_a_size_of_2_to_4_gb_is_one(size):
    """What is behind so many bytes, such as tags, is no audio."""
    data = wav_of(np.full((500, 1), 0.25), 8000, "PCM_16")
    stream = open_wav(Dribble(data[:40] + struct.pack("<I", size) + data[44:]))
    assert sum(block.shape[1] for block in stream) == 500
    assert stream.warnings == [f"cut off: 500 of {size // 2} samples are there"]


def test_what_cannot_be_streamed_is_handed_back():
    flac = wav_of(np.zeros((10, 1)), 8000, "PCM_16", "FLAC")
    alaw = wav_of(np.zeros((10, 1)), 8000, "ALAW")
    for data in (flac, alaw, b"", b"RI", alaw[:30], data_before_format()):
        file = Dribble(data)
        with pytest.raises(NotStreamableError) as error:
            open_wav(file)
        assert error.value.consumed + file.read() == data
    for rate, channels in ((0, 1), (8000, 0), (8000, 256)):
        with pytest.raises(AudioError):
            SampleStream(io.BytesIO(), rate, channels, "<i2", None)


def data_before_format():
    return b"RIFF\x24\0\0\0WAVEdata\4\0\0\0abcd"


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_what_goes_out_is_the_file_that_libsndfile_writes(channels):
    audio = np.random.default_rng(0).uniform(-1.2, 1.2, (channels, 500)).astype(np.float32)
    file = io.BytesIO()
    sink = SampleSink(file, 22_050, channels, 500, raw=False)
    sink.write(audio[:, :123])
    sink.write(audio[:, 123:])
    assert file.getvalue() == wav_of(as_int16(audio).T, 22_050, "PCM_16")
    endless = io.BytesIO()
    SampleSink(endless, 22_050, channels, None, raw=False).write(audio)
    assert np.array_equal(read_stream(endless.getvalue())[0], read_stream(file.getvalue())[0])
    raw = io.BytesIO()
    SampleSink(raw, 22_050, channels, None, raw=True).write(audio)
    assert raw.getvalue() == file.getvalue()[44:]


@pytest.mark.parametrize("tags", [{"title": "Ünï"}, dict.fromkeys(TAGS, "even"), {"license": "x"}])
def test_tags_go_out_as_libsndfile_writes_them(tmp_path, tags):
    audio = np.zeros((1, 100), np.float32)
    with AudioWriter(tmp_path / "a.wav", 8000, 1, 100, ".wav", tags) as writer:
        writer.write(audio)
    file = io.BytesIO()
    SampleSink(file, 8000, 1, 100, raw=False, tags=tags).write(audio)
    kept = {key: value for key, value in tags.items() if key != "license"}  # WAV has no such tag
    assert open_wav(io.BytesIO(file.getvalue())).tags == kept
    if kept:
        assert file.getvalue() == (tmp_path / "a.wav").read_bytes()


@pytest.fixture(scope="module", params=["small", "ahead"])
def tool(request, tmp_path_factory):
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    model = codec.load(write_weights(path, VARIANTS[request.param]), backend="native")
    write_enhancer(path, model.model_id)
    return model


@pytest.mark.parametrize("rate", [24_000, 8000, 44_100])
@pytest.mark.parametrize("samples", [1, 2000, 30_011])
def test_live_codes_and_samples_are_those_of_the_whole(tool, rate, samples):
    from codec.files.live import decode_live, encode_live

    audio = np.stack([noise(samples), noise(samples)[::-1]])
    tokens = tool.encode(audio, rate)
    blocks = [audio[:, start : start + 999] for start in range(0, samples, 999)]
    spans = list(encode_live(tool.backend, blocks, rate, 3))
    assert np.array_equal(np.concatenate(spans, axis=2), tokens.codes)
    for live in (False, True):
        file = io.BytesIO()
        writer = Writer(file, tool.pipeline.header(2, rate, 3, live=live))
        for codes in spans:
            writer.write(codes)
        writer.finish(samples)
        for wanted in (None, "postfilter", "enhancer"):
            file.seek(0)
            post = tool.pipeline.improvement(wanted)
            decoded = np.concatenate(list(decode_live(tool.backend, Reader(file), post=post)), 1)
            improved = {"postfilter": wanted == "postfilter", "enhance": wanted == "enhancer"}
            assert np.array_equal(decoded, tool.decode(tokens, **improved))
    with pytest.raises(AudioError, match="no audio"):
        list(encode_live(tool.backend, [], rate, 3))


def test_a_peak_that_resampling_raises_is_coded_live_too(tool):
    from codec.files.live import encode_live

    audio = np.float32(256) * np.sign(noise(4000))[None]
    spans = list(encode_live(tool.backend, [audio], 44_100, 3))
    assert np.array_equal(np.concatenate(spans, axis=2), tool.encode(audio, 44_100).codes)


def test_no_sample_waits_longer_than_for_the_next_frame(tool):
    from codec.files.live import decode_live, encode_live

    given = taken = 0
    frame = tool.config.hop_length

    def microphone():
        nonlocal given
        for start in range(0, 48_000, 240):
            given = start + 240
            yield noise(48_000)[None, start : start + 240]

    class Wire(io.BytesIO):
        """What is written is read."""

    wire = Wire()
    writer = Writer(wire, tool.pipeline.header(1, 24_000, 3, live=True))
    spans = encode_live(tool.backend, microphone(), 24_000, 3)
    writer.write(next(spans))
    wire.seek(0)
    reader = Reader(wire)
    encoder_lag = given  # samples in before the first frame was out

    def feed():
        for codes in spans:
            at = wire.tell()
            wire.seek(0, io.SEEK_END)
            writer.write(codes)
            wire.seek(at)
            yield

    feeding = feed()
    lags = []
    decoded = decode_live(tool.backend, FedReader(reader, feeding))
    for block in decoded:
        taken += block.shape[1]
        lags.append(given - taken)
        if given == 48_000:
            break
    # The frame that is kept back, and the decoder's own lookahead rounded up to frames.
    ahead = -(-int(tool.backend.decoder.lookahead) // frame)
    assert max(lags) <= encoder_lag + max(1, ahead) * frame + 240


class FedReader:
    """A reader that is given the next chunk when it wants one."""

    def __init__(self, reader, feeding):
        self._reader, self._feeding = reader, feeding

    def __getattr__(self, name):
        return getattr(self._reader, name)

    def __iter__(self):
        for codes in self._reader:
            yield codes
            next(self._feeding, None)


@pytest.fixture
def weights(tmp_path):
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    return write_weights(tmp_path / "w.safetensors", SMALL)


def start(*args, **kind):
    return subprocess.Popen(
        [sys.executable, "-m", "codec", *map(str, args)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, **kind,
    )  # fmt: skip


@pytest.mark.parametrize(("live", "postfilter"), [(False, False), (True, False), (True, True)])
def test_output_appears_before_the_input_ends(weights, tmp_path, live, postfilter):
    rate, channels = 16_000, 2
    audio = as_int16(np.stack([noise(5 * rate), noise(5 * rate)[::-1]]) * 0.3).T
    sender = start("compress", "-", "-", "--raw", f"{rate}:{channels}", "--model", weights,
                   *["--live"] * live)  # fmt: skip
    receiver = start("decompress", "-", "-", "--model", weights, *["--postfilter"] * postfilter)
    with sender, receiver:
        packed, restored = bytearray(), bytearray()
        first = 3 * rate  # one chunk of two seconds is whole
        sender.stdin.write(audio[:first].tobytes())
        sender.stdin.flush()
        wanted = 70 if live else 1  # chunks
        size = 20 + -(-(1 if live else 50) * 3 * channels * 6 // 8)
        while len(packed) < HEADER_BYTES + wanted * size:
            packed += sender.stdout.read1()
        receiver.stdin.write(packed)
        receiver.stdin.flush()
        # less what the resampler keeps, which is 40 ms
        heard = int((69 if live else 49) * 0.04 * rate) - rate // 10
        while len(restored) < 44 + heard * 2 * channels:
            restored += receiver.stdout.read1()
        sender.stdin.write(audio[first:].tobytes())
        rest, said = sender.communicate()
        assert (sender.returncode, said) == (0, b"")
        tail, said = receiver.communicate(rest)
        assert (receiver.returncode, said) == (0, b"")
    packed, restored = bytes(packed) + rest, bytes(restored) + tail
    assert Header.unpack(packed).n_samples is None
    tool = codec.load(weights, backend="native")
    whole = tool.decode(tool.encode(audio.T.copy(), rate), postfilter=postfilter)
    assert np.array_equal(read_stream(restored)[0], as_int16(whole).astype(np.float32) / 32768)
    # A stream that is cut off was heard as far as it went, and is an error.
    end = TRAILER_BYTES + index_bytes(3)
    asked = ["--format", "raw", "--model", weights, *["--postfilter"] * postfilter]
    with start("decompress", "-", "-", *asked) as cut:
        heard, said = cut.communicate(packed[:-end])
    assert cut.returncode == 1
    assert b"truncated" in said
    assert restored[44:].startswith(heard)
    assert len(heard) > 4 * 2 * channels * rate


def test_no_audio_is_an_error_and_no_output(weights):
    for data in (b"", wav_of(np.zeros((0, 1)), 8000, "PCM_16")):
        with start("compress", "-", "-", "--model", weights) as run:
            out, err = run.communicate(data)
        assert (run.returncode, out) == (1, b"")
        assert err.startswith(b"codec: standard input: ")


@pytest.mark.parametrize(("existing", "waits"), [(False, (0, 0.1)), (True, (0.03,))])
def test_killed_at_any_moment(cli_of_weights, weights, tmp_path, existing, waits):
    """Nothing under the final name, and what was there untouched."""
    source, packed, restored = (tmp_path / name for name in ("a.wav", "a.nac", "b.wav"))
    soundfile.write(source, np.tile(noise(24_000) * 0.3, 150), 24_000, subtype="PCM_16")
    jobs = {
        packed: ("compress", source, "-o", packed, "-f", "-t", 1, "--model", weights),
        restored: ("decompress", packed, "-o", restored, "-f", "-t", 1, "--model", weights),
    }
    for target, args in jobs.items():
        assert cli_of_weights(*args)[0] == 0
        content = target.read_bytes()
        for wait in waits:
            target.unlink()
            if existing:
                target.write_bytes(b"precious")
            run = start(*args)
            while run.poll() is None and not list(tmp_path.glob("*.part")):
                time.sleep(0.001)
            time.sleep(wait)  # into the writing
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
            # It may have been done by then; half of it is never there.
            left = target.read_bytes() if target.exists() else None
            assert left in (b"precious" if existing else None, content)
            target.write_bytes(content)
            for part in tmp_path.glob("*.part"):
                part.unlink()


@pytest.mark.parametrize("existing", [False, True])
def test_killed_while_it_writes(weights, tmp_path, existing):
    """The input does not end, so the output cannot be whole yet."""
    packed = tmp_path / "a.nac"
    if existing:
        packed.write_bytes(b"precious")
    run = start("compress", "-", "-o", packed, "-f", "--raw", "24000", "--model", weights)
    run.stdin.write(bytes(2 * 24_000 * 8))
    run.stdin.flush()
    while run.poll() is None and not list(tmp_path.glob("*.part")):
        time.sleep(0.001)
    assert run.poll() is None
    run.kill()
    run.wait()
    run.stdin.close()
    assert (packed.read_bytes() if packed.exists() else None) == (b"precious" if existing else None)


def test_errors_have_names():
    assert issubclass(NotStreamableError, CodecError)
    with pytest.raises(FormatError):
        Reader(io.BytesIO(b"x" * 100))
