"""The .nac format: identities, and what a hostile file can do (nothing)."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.container import (
    END_BYTES,
    HEADER_BYTES,
    MAGIC,
    Header,
    Reader,
    Writer,
    pack_codes,
    read_tokens,
    unpack_codes,
    write_tokens,
)
from codec.errors import FormatError, TokensError
from codec.tokens import Tokens, frames_for


def make(
    channels=2, n_codebooks=3, codebook_size=1024, n_samples=3000, sample_rate=24_000,
    frame_rate=50.0, seed=0,
):  # fmt: skip
    frames = frames_for(n_samples, sample_rate, Fraction(frame_rate).limit_denominator(1 << 16))
    shape = (channels, n_codebooks, frames)
    codes = np.random.default_rng(seed).integers(0, codebook_size, shape, np.uint16)
    return Tokens(codes, frame_rate, n_samples, sample_rate, codebook_size, b"\x00\x01modelZ")


def written(tokens):
    file = io.BytesIO()
    write_tokens(file, tokens)
    return file.getvalue()


def read(data):
    return read_tokens(io.BytesIO(data))


def forged(data, offset, replacement):
    """A file whose header was changed by someone who knows how to make its CRC right."""
    header = bytearray(data[: HEADER_BYTES - 4])
    header[offset : offset + len(replacement)] = replacement
    return bytes(header) + struct.pack("<I", zlib.crc32(header)) + data[HEADER_BYTES:]


class Trickle(io.RawIOBase):
    """A pipe: no seeking, and never more than 3 bytes at a time."""

    def __init__(self, data):
        self._file = io.BytesIO(data)

    def read(self, size=-1):
        return self._file.read(min(size, 3) if size >= 0 else 3)


@given(bits=st.integers(1, 16), data=st.data())
def test_packing_is_the_integer_written_in_binary(bits, data):
    codes = data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=1, max_size=40))
    packed = pack_codes(np.array(codes, np.uint16), bits)
    text = "".join(f"{code:0{bits}b}" for code in codes)
    text += "0" * (-len(text) % 8)
    assert packed == int(text, 2).to_bytes(len(text) // 8, "big")
    assert unpack_codes(packed, len(codes), bits).tolist() == codes


@settings(max_examples=60, deadline=None)
@given(
    channels=st.integers(1, 9),
    n_codebooks=st.integers(1, 12),
    codebook_size=st.integers(2, 1 << 16),
    n_samples=st.integers(1, 60_000),
    sample_rate=st.integers(1_000, 768_000),
    frame_rate=st.sampled_from([12.5, 25.0, 50.0, 75.0, 24_000 / 441, 24_000 / 1111]),
)
def test_round_trip(**kinds):
    tokens = make(**kinds)
    assert read(written(tokens)) == tokens


def test_layout_byte_by_byte():
    """The example of the README, taken apart with struct alone."""
    codes = np.array([[[1], [1023]], [[512], [2]]], np.uint16)
    data = written(Tokens(codes, 50.0, 7, 44_100, 1024, b"modelid8"))
    fields = struct.unpack_from("<8sHBB8sIIIIHH", data)
    assert fields == (MAGIC, 1, 2, 2, b"modelid8", 44_100, 50, 1, 1024, 512, 0)
    header_crc = zlib.crc32(data[:40])
    assert struct.unpack_from("<I", data, 40) == (header_crc,)
    payload = int("0000000001111111111110000000000000000010", 2).to_bytes(5, "big")
    assert data[44:53] == struct.pack("<I", 1) + payload
    assert struct.unpack_from("<I", data, 53) == (zlib.crc32(data[:40] + data[44:53]),)
    assert data[57:69] == struct.pack("<IQ", 0, 7)
    assert data[69:] == struct.pack("<I", zlib.crc32(data[:40] + data[44:53] + data[57:69]))


def test_pushes_of_any_size_write_the_same_bytes():
    tokens = make(n_samples=1200 * 480 - 5)
    for step in (1, 7, 512, 513, 1200):
        file = io.BytesIO()
        writer = Writer(file, Header.of(tokens))
        for start in range(0, tokens.n_frames, step):
            writer.write(tokens.codes[:, :, start : start + step])
        writer.finish(tokens.n_samples)
        assert file.getvalue() == written(tokens)


def test_reads_from_a_pipe_chunk_by_chunk():
    tokens = make(n_samples=600 * 480)
    reader = Reader(Trickle(written(tokens)))
    assert reader.n_samples is None
    chunks = list(reader)
    assert [chunk.shape[2] for chunk in chunks] == [512, 88]
    assert np.array_equal(np.concatenate(chunks, axis=2), tokens.codes)
    assert reader.n_samples == tokens.n_samples
    assert reader.n_bytes == len(written(tokens))


def test_many_channels_keep_chunks_within_their_limit():
    tokens = make(channels=255, n_codebooks=255, codebook_size=1 << 16, n_samples=480 * 10)
    assert 1 <= Header.of(tokens).frames_per_chunk < 10
    assert read(written(tokens)) == tokens


def test_truncation_at_every_byte():
    data = written(make())
    for length in range(len(data)):
        with pytest.raises(FormatError, match=r"truncated|empty"):
            read(data[:length])


def test_truncation_names_what_is_missing():
    data = written(make(n_samples=600 * 480))
    with pytest.raises(FormatError, match="10 of the header's 44 bytes"):
        read(data[:10])
    with pytest.raises(FormatError, match="of chunk 0"):
        read(data[:100])
    with pytest.raises(FormatError, match="truncated after 600 frames"):
        read(data[:-END_BYTES])


def test_every_flipped_bit_is_noticed():
    data = written(make(n_samples=900))
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            read(bytes(damaged))


def test_chunks_swapped_repeated_dropped_or_foreign_are_noticed():
    def parts(tokens):
        data, header = written(tokens), Header.of(tokens)
        size = 8 + header.chunk_bytes(512)
        chunks = [data[HEADER_BYTES + k * size :][:size] for k in range(3)]
        return data[:HEADER_BYTES], chunks, data[HEADER_BYTES + 3 * size :]

    tokens = make(n_samples=3 * 512 * 480)
    header, (a, b, c), end = parts(tokens)
    assert header + a + b + c + end == written(tokens)
    _, (_, other, _), other_end = parts(make(n_samples=3 * 512 * 480, seed=1))
    for body in (b + a + c, a + b + b + c, a + c, a + other + c, a + b + b):
        with pytest.raises(FormatError, match="damaged"):
            read(header + body + end)
    with pytest.raises(FormatError, match="damaged"):
        read(header + a + b + c + other_end)
    with pytest.raises(FormatError, match="after its end"):
        read(written(tokens) + b"\0")


# Field offsets in the header, as in the README.
@pytest.mark.parametrize(
    ("offset", "replacement"),
    [
        (8, b"\x02\x00"),  # version
        (10, b"\x00"),  # no channels
        (11, b"\x00"),  # no codebooks
        (20, struct.pack("<I", 0)),  # rates
        (20, struct.pack("<I", 0xFFFFFFFF)),
        (24, struct.pack("<I", 0)),
        (24, struct.pack("<I", 0xFFFFFFFF)),
        (24, struct.pack("<II", 100, 2)),  # not in lowest terms
        (28, struct.pack("<I", 0)),
        (28, struct.pack("<I", 0xFFFFFFFF)),
        (32, struct.pack("<I", 0)),  # codebook sizes
        (32, struct.pack("<I", 1)),
        (32, struct.pack("<I", 0xFFFFFFFF)),
        (36, b"\x00\x00"),  # frames a chunk
        (10, b"\xff\xff"),  # chunks of more than 1 MiB
        (38, b"\x01\x00"),  # reserved
    ],
)
def test_forged_headers_are_refused_before_the_body_is_read(offset, replacement):
    data = forged(written(make()), offset, replacement)
    with pytest.raises(FormatError):
        Reader(io.BytesIO(data[:HEADER_BYTES]))


def test_an_impossible_number_of_samples_is_refused_without_allocating():
    tokens = make(channels=1)
    data = bytearray(written(tokens))
    body = bytes(data[:40]) + bytes(data[44 : -END_BYTES - 4])
    for n_samples in (0, 1, tokens.n_frames * 480 + 1, 2**63, 2**64 - 1):
        end = struct.pack("<IQ", 0, n_samples)
        forged_end = end + struct.pack("<I", zlib.crc32(body + end))
        tracemalloc.start()
        with pytest.raises(FormatError, match="claims"):
            read(bytes(data[:-END_BYTES]) + forged_end)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


def test_nonzero_padding_and_codes_beyond_the_codebook_are_refused():
    def one_chunk(size, payload):
        header = Header(1, 1, size, Fraction(50), 24_000, b"modelid8", 512)
        packed = header.pack()
        record = struct.pack("<I", 1) + payload
        crc = zlib.crc32(packed[:40] + record)
        return packed + record + struct.pack("<I", crc)

    with pytest.raises(FormatError, match="padding"):
        read(one_chunk(1024, b"\x00\x01"))
    with pytest.raises(FormatError, match="beyond the codebook"):
        read(one_chunk(1000, struct.pack(">H", 1000 << 6)))


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"RIFF\x24\0\0\0WAVE", "WAV"), (b"fLaC\0", "FLAC"), (b"OggS\0", "Ogg"), (b"ID3\4", "MP3")],
)
def test_audio_is_named_as_what_it_is(data, kind):
    with pytest.raises(FormatError, match=f"not a .nac file but {kind} audio"):
        read(data)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(data):
    with pytest.raises(FormatError):
        read(data)
    with pytest.raises(FormatError):
        read(MAGIC + data)


def test_the_writer_refuses_what_the_reader_would():
    tokens = make(n_samples=960)
    for n_samples in (0, 480, 961):
        writer = Writer(io.BytesIO(), Header.of(tokens))
        writer.write(tokens.codes)
        with pytest.raises(TokensError):
            writer.finish(n_samples)
    writer = Writer(io.BytesIO(), Header.of(tokens))
    with pytest.raises(TokensError):
        writer.write(tokens.codes[:1])
    with pytest.raises(TokensError):
        writer.write(tokens.codes + np.uint16(1024))
