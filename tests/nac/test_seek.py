"""Any stretch of a file is that stretch of the whole, to the bit."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from bench.random_weights import VARIANTS, noise, write_weights
from codec.errors import AudioError, FormatError
from codec.nac.layout import HEADER_BYTES, INDEX_MARKER, TRAILER_BYTES, index_bytes, sealed
from codec.nac.reader import Reader, own_coder
from codec.nac.seek import SeekableReader
from codec.nac.writer import Writer
from codec.tokens import header_of, write_tokens
from tests.fuzz.attacks import resealed, tokens, written


@given(st.integers(0, 130), st.integers(1, 130))
def test_the_chunks_of_a_stretch(first, length):
    held = tokens()
    start, chunks = SeekableReader(io.BytesIO(written(held)), own_coder).read(first, first + length)
    codes = np.concatenate([held.codes[:, :, :0], *chunks], axis=2)
    assert start <= first
    assert np.array_equal(codes, held.codes[:, :, start : start + codes.shape[2]])
    assert start + codes.shape[2] >= min(first + length, held.n_frames)


@pytest.fixture(scope="module")
def live():
    """A file of chunks of one frame, most of which a stretch passes over, and its codes."""
    file = io.BytesIO()
    held = tokens()
    writer = Writer(file, dataclasses.replace(header_of(held), frames_per_chunk=1, n_samples=None))
    writer.write(held.codes)
    writer.finish(held.n_samples)
    return file.getvalue(), held.codes


@given(st.data(), st.integers(0, 119), st.integers(1, 130))
def test_a_stretch_behind_a_damaged_chunk_is_right_or_refused(live, draw, first, length):
    data, codes = live
    changed = bytearray(data)
    end = len(data) - TRAILER_BYTES - index_bytes(3)
    changed[draw.draw(st.integers(HEADER_BYTES, end - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    with contextlib.suppress(FormatError):
        reader = SeekableReader(io.BytesIO(bytes(changed)), own_coder)
        start, chunks = reader.read(first, first + length)
        found = np.concatenate([codes[:, :, :0], *chunks], axis=2)
        assert np.array_equal(found, codes[:, :, start : min(first + length, 120)])


def test_lengths_that_lead_out_of_the_chunks_are_refused(live):
    data = bytearray(live[0])
    data[HEADER_BYTES + 10] ^= 8  # the first chunk: as if it were 512 KiB longer
    with pytest.raises(FormatError, match="before these frames"):
        list(SeekableReader(io.BytesIO(bytes(data)), own_coder).read(25, 30)[1])


def test_an_index_that_leads_out_of_the_chunks_is_refused():
    good = written(tokens())
    index = len(good) - TRAILER_BYTES - index_bytes(3)
    forged = struct.pack("<Q", len(good))
    data = resealed(good, index, len(good) - TRAILER_BYTES - 4, index + 8, forged)
    with pytest.raises(FormatError, match="the index"):
        list(SeekableReader(io.BytesIO(data), own_coder).read(0, 30)[1])


def test_a_trailer_without_chunks_is_refused():
    good = written(tokens())
    index = len(good) - TRAILER_BYTES - index_bytes(3)
    none = sealed(INDEX_MARKER + bytes(4))
    data = good[:index] + none + good[-TRAILER_BYTES:]
    end = len(data) - TRAILER_BYTES
    data = resealed(data, end, len(data) - 12, end + 76, bytes(4))
    with pytest.raises(FormatError, match="its chunks do not make its samples"):
        SeekableReader(io.BytesIO(data), own_coder)


class Counting(io.BytesIO):
    """A file that counts what is read."""

    n_bytes = 0

    def read(self, size=-1):
        data = super().read(size)
        self.n_bytes += len(data)
        return data


def test_what_is_before_is_not_read():
    codes = np.zeros((1, 1, 90_000), np.uint16)
    held = codec.Tokens(codes, 25.0, 90_000 * 960, 24_000, 1024, b"modelid8")
    file = Counting(written(held))
    list(SeekableReader(file, own_coder).read(80_000, 80_010)[1])
    assert file.n_bytes < 8 * 1800 + 500


@pytest.fixture(scope="module", params=["small", "ahead"])
def tool(request, tmp_path_factory):
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    return codec.load(write_weights(path, VARIANTS[request.param]), backend="native")


@pytest.mark.parametrize("rate", [24_000, 8000, 16_000, 22_050, 44_100, 48_000])
def test_any_stretch_to_the_bit(tool, rate):
    audio = np.stack([noise(9 * rate), noise(9 * rate)[::-1]])
    data = tool.compress(audio, rate)
    whole, _ = tool.decompress(data)
    for start, duration in ((0, 1.3), (2.71, 0.5), (4.001, 3), (8.9, 5), (6, 1e-4), (3.3, None)):
        part, part_rate = tool.decompress(data, start=start, duration=duration)
        assert part_rate == rate
        first = round(start * rate)
        stop = first + part.shape[1]
        assert stop == min(whole.shape[1], round((start + (duration or 9)) * rate))
        assert np.array_equal(part, whole[:, first:stop])


@settings(max_examples=20, deadline=None)
@given(start=st.floats(0, 4.9), duration=st.floats(1e-3, 5))
def test_any_stretch_of_a_varying_bitrate(tool, start, duration):
    data = tool.compress(noise(120_000), 24_000, quality=5)
    whole, _ = tool.decompress(data)
    part, _ = tool.decompress(data, start=start, duration=duration)
    first = round(start * 24_000)
    assert np.array_equal(part, whole[:, first : first + part.shape[1]])


def test_a_stretch_with_nothing_in_it(small):
    data = small.compress(np.zeros(2400, np.float32), 24_000)
    for start, duration in ((0.1, None), (5, 1), (0, 1e-9), (math.inf, None), (1e308, math.inf)):
        with pytest.raises(AudioError, match=r"the audio is 0\.100 s long"):
            small.decompress(data, start=start, duration=duration)
    for start, duration in ((-1, None), (0, 0), (0, -1), (0, math.nan), (math.nan, None)):
        with pytest.raises(AudioError):
            small.decompress(data, start=start, duration=duration)


@pytest.mark.parametrize("duration", [0.1, 1e300, 1e308, math.inf])
def test_a_stretch_may_be_longer_than_the_audio(small, duration):
    data = small.compress(np.zeros(2400, np.float32), 24_000)
    assert small.decompress(data, duration=duration)[0].shape == (1, 2400)
    assert small.decompress(data, start=0.05, duration=duration)[0].shape == (1, 1200)


def test_damage_elsewhere_is_not_in_the_way_and_here_it_is(small):
    audio = np.linspace(-1, 1, 24_000 * 6).astype(np.float32)
    whole, _ = small.decompress(small.compress(audio, 24_000))
    data = bytearray(small.compress(audio, 24_000))
    data[200] ^= 1
    part, _ = small.decompress(bytes(data), start=4.5)
    assert np.array_equal(part, whole[:, 108_000:])
    with pytest.raises(FormatError, match="chunk 0 is damaged"):
        small.decompress(bytes(data), start=1, duration=0.5)
    for at in (-3, -50, -TRAILER_BYTES - index_bytes(3) + 14):
        damaged = bytearray(small.compress(audio, 24_000))
        damaged[at] ^= 1
        with pytest.raises(FormatError, match=r"index|trailer"):
            small.decompress(bytes(damaged), start=4.5)


def test_a_varying_bitrate_decodes_as_a_stream_of_its_chunks(tool, monkeypatch):
    monkeypatch.setattr("codec.engine.windows.SHORTEST_SPAN", 3)
    monkeypatch.setattr("codec.engine.windows.FRAMES_AT_WORK", 64)
    counts = itertools.cycle((3, 1, 2, 2, 1))
    file = io.BytesIO()
    tokens_ = tool.encode(noise(24_000 * 9), 24_000)
    write_tokens(file, tokens_, choose=lambda codes: next(counts))
    file.seek(0)
    stream = tool.stream_decoder()
    pushed = [stream.push(codes[0]) for codes in Reader(file)]
    expected = np.concatenate([*pushed, stream.flush()])[: tokens_.n_samples]
    for threads in (1, 3):
        assert np.array_equal(tool.decompress(file.getvalue(), threads=threads)[0][0], expected)
