"""Whole .nac files: identities, the page that defines them, and damage of every kind."""

from __future__ import annotations

import dataclasses
import io
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.coders.base import RawCoder, pack_codes, unpack_codes
from codec.errors import FormatError, TokensError
from codec.nac.layout import (
    HEADER_BYTES,
    MAGIC,
    MAX_CHUNK_CODES,
    MAX_METADATA_BYTES,
    TRAILER_BYTES,
)
from codec.nac.reader import Reader
from codec.nac.tags import MAX_TAGS, pack_metadata, unpack_metadata
from codec.nac.writer import Writer
from codec.tokens import Tokens, header_of, read_tokens, write_tokens
from tests.helpers.nac_files import ANY_TOKENS, make, written

PAGE = Path(__file__).parents[2] / "docs" / "format.md"


def read(data):
    return read_tokens(io.BytesIO(data))


class Trickle(io.RawIOBase):
    """A pipe: no seeking, and never more than 3 bytes at a time."""

    def __init__(self, data):
        self._data = io.BytesIO(data)

    def readable(self):
        return True

    def read(self, size=-1):
        return self._data.read(min(size, 3))


@given(ANY_TOKENS)
@settings(max_examples=40, deadline=None)
def test_any_tokens_there_and_back(tokens):
    assert read(written(tokens)) == tokens


@given(st.integers(1, 16), st.lists(st.integers(0, (1 << 16) - 1), min_size=1))
def test_codes_are_packed_most_significant_bit_first(bits, values):
    codes = np.array(values, np.uint16) & np.uint16((1 << bits) - 1)
    packed = pack_codes(codes, bits)
    text = "".join(f"{code:0{bits}b}" for code in codes)
    assert packed == int(text.ljust(8 * len(packed), "0"), 2).to_bytes(len(packed), "big")
    assert np.array_equal(unpack_codes(packed, len(codes), bits), codes)


def test_raw_payloads_have_one_form():
    coder = RawCoder(1000)
    for payload, error in (
        (b"\0\1", "padding"),
        (b"\0", "1 bytes do not hold 1 codes"),
        (b"\xfa\0", "code 1000 in a codebook of 1000 entries"),
    ):
        with pytest.raises(FormatError, match=error):
            coder.decode(payload, 1, 1, 1)


def example():
    """The file that docs/format.md shows: two channels, two codebooks, one frame, a title."""
    codes = np.array([[[1], [1023]], [[512], [2]]], np.uint16)
    tokens = Tokens(codes, 25.0, 7, 44_100, 1024, bytes.fromhex("307cf0b94fb173f7"))
    file = io.BytesIO()
    writer = Writer(file, header_of(tokens), tags={"title": "Tü"})
    writer.write(codes)
    writer.finish(7)
    return file.getvalue()


def test_the_page_shows_every_byte_of_the_example():
    shown = re.findall(r"^    ([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+)", PAGE.read_text(), re.MULTILINE)
    data = b""
    for offset, octets in shown:
        assert int(offset, 16) == len(data)
        data += bytes.fromhex(octets)
    assert data == example()


def test_pushes_of_any_size_write_the_same_bytes():
    tokens = make(n_samples=1200 * 480 - 5)
    for step in (1, 7, 99, 100, 101, 1200):
        file = io.BytesIO()
        writer = Writer(file, header_of(tokens))
        for start in range(0, tokens.n_frames, step):
            writer.write(tokens.codes[:, :, start : start + step])
        writer.finish(tokens.n_samples)
        assert file.getvalue() == written(tokens)


@pytest.mark.parametrize("live", [False, True])
def test_a_file_of_unknown_length_differs_in_its_header_only(live):
    tokens = make(n_samples=250 * 480)
    known = dataclasses.replace(
        header_of(tokens), frames_per_chunk=1 if live else header_of(tokens).frames_per_chunk
    )
    data = []
    for header in (known, dataclasses.replace(known, n_samples=None)):
        file = io.BytesIO()
        writer = Writer(file, header)
        writer.write(tokens.codes)
        assert writer.finish(tokens.n_samples) == known
        data.append(file.getvalue())
    assert data[0][HEADER_BYTES:] == data[1][HEADER_BYTES:]
    assert read(data[0]) == read(data[1]) == tokens
    # Two seconds are 100 frames: live or not, the index points at every second second.
    reader = Reader(io.BytesIO(data[1]))
    assert reader.n_samples is None
    assert len(list(reader)) == (250 if live else 3)
    assert reader.finish() == known


def test_reads_from_a_pipe_chunk_by_chunk():
    tokens = make(n_samples=150 * 480)
    reader = Reader(Trickle(written(tokens)))
    chunks = list(reader)
    assert [chunk.shape[2] for chunk in chunks] == [100, 50]
    assert np.array_equal(np.concatenate(chunks, axis=2), tokens.codes)
    assert reader.n_bytes == len(written(tokens))


def test_each_chunk_has_as_many_codebooks_as_were_chosen():
    tokens = make(n_samples=350 * 480)
    counts = iter((3, 1, 2, 3))
    data = written(tokens, choose=lambda codes: next(counts))
    with pytest.raises(FormatError, match="varies"):
        read(data)
    chunks = list(Reader(io.BytesIO(data)))
    assert [chunk.shape[1] for chunk in chunks] == [3, 1, 2, 3]
    for number, chunk in enumerate(chunks):
        frames = tokens.codes[:, : chunk.shape[1], 100 * number : 100 * (number + 1)]
        assert np.array_equal(chunk, frames)


def test_many_channels_keep_chunks_within_their_limit():
    tokens = make(channels=255, n_codebooks=255, codebook_size=1 << 16, n_samples=480 * 10)
    header = header_of(tokens)
    assert 255 * 255 * header.frames_per_chunk <= MAX_CHUNK_CODES
    assert read(written(tokens)) == tokens


def test_truncation_at_every_byte():
    data = written(make())
    for length in range(len(data)):
        with pytest.raises(FormatError, match=r"truncated|empty"):
            read(data[:length])


def test_every_flipped_bit_is_noticed():
    data = written(make(n_samples=900))
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            read(bytes(damaged))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(data):
    with pytest.raises(FormatError):
        read(data)
    with pytest.raises(FormatError):
        read(MAGIC + data)


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"RIFF\x24\0\0\0WAVE", "WAV"), (b"fLaC\0", "FLAC"), (b"OggS\0", "Ogg"), (b"ID3\4", "MP3")],
)
def test_audio_is_named_as_what_it_is(data, kind):
    with pytest.raises(FormatError, match=f"not a .nac file but {kind} audio"):
        read(data)


def test_the_writer_refuses_what_the_reader_would():
    tokens = make(n_samples=960)
    unknown = dataclasses.replace(header_of(tokens), n_samples=None)
    for n_samples in (0, 480, 961):
        for header in (header_of(tokens), unknown):
            writer = Writer(io.BytesIO(), header)
            writer.write(tokens.codes)
            with pytest.raises(TokensError):
                writer.finish(n_samples)
    with pytest.raises(TokensError):
        writer.write(tokens.codes[:1])
    with pytest.raises(TokensError):
        writer.write(tokens.codes + np.uint16(1024))


def test_memory_does_not_grow_with_the_file():
    tokens = make(channels=1, n_samples=480 * 200_000)
    file = io.BytesIO()
    write_tokens(file, tokens)
    file.seek(0)
    tracemalloc.start()
    for _ in Reader(file):
        pass
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert len(file.getvalue()) - 200_000 * 30 // 8 < 2000 * 28 + HEADER_BYTES + TRAILER_BYTES + 64


keys = st.from_regex(r"[a-z0-9_-]{1,32}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))


@given(st.dictionaries(keys, texts.map(str.strip).filter(bool)))
def test_any_tags_there_and_back(tags):
    assert unpack_metadata(pack_metadata(tags)) == tags


def test_tags_that_cannot_be_held_are_left_out():
    held = pack_metadata(
        {"title": "a\0b", "BAD KEY": "x", "empty": " ", "surrogate": "\ud800", "k" * 33: "x"}
    )
    assert unpack_metadata(held) == {"title": "a"}
    long = {"comment": "x" * MAX_METADATA_BYTES, "title": "a"}
    assert unpack_metadata(pack_metadata(long)) == {"title": "a"}
    assert len(unpack_metadata(pack_metadata({f"{i}": "x" for i in range(999)}))) == MAX_TAGS
    assert len(pack_metadata({f"{i}": "x" * 1000 for i in range(200)})) <= MAX_METADATA_BYTES


@pytest.mark.parametrize("data", [b"a=1", b"b=1\0a=1\0", b"a=1\0a=2\0", b"a\0", b"\xff=1\0"])
def test_metadata_in_another_form_are_refused(data):
    with pytest.raises(FormatError, match="metadata"):
        unpack_metadata(data)
