"""What the fuzzer checks of every input, and what it starts from.

Every input is read as it is, and again with all its checksums made right, so that the fuzzer gets
past them; front to back, at places that the index leads to, and by salvage. Whatever is found must
be FormatError, ModelError for a coder that needs a model's data, or codes in range; and a whole
file must come out again as it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import struct
from pathlib import Path

import numpy as np

from codec.errors import FormatError, ModelError
from codec.nac.crc32c import crc32c
from codec.nac.layout import (
    CHUNK_HEADER_BYTES,
    CHUNK_MARKER,
    HEADER_BYTES,
    INDEX_MARKER,
    MAX_FRAMES,
    TRAILER_BYTES,
    TRAILER_MARKER,
)
from codec.nac.reader import Reader, own_coder
from codec.nac.salvage import read_run, survey
from codec.nac.seek import SeekableReader
from codec.nac.writer import Writer
from tests.fuzz.attacks import attacks, tokens, written

REFUSED = (FormatError, ModelError)


def replay(data: bytes) -> None:
    """Read `data` in all ways there are."""
    for version in {data, resealed(data)}:
        sequentially(version)
        at_places(version)
        by_salvage(version)


def sequentially(data: bytes) -> None:
    reader = None
    chunks = []
    try:
        reader = Reader(io.BytesIO(data))
        for codes in reader:
            assert codes.dtype == np.uint16
            assert int(codes.max()) < reader.header.codebook_size
            chunks.append(codes)
    except REFUSED:
        return
    header = reader.finish()
    counts = iter([chunk.shape[1] for chunk in chunks])
    again = io.BytesIO()
    written_header = dataclasses.replace(header, metadata_bytes=0)
    known = data[32:40] != b"\xff" * 8
    writer = Writer(
        again,
        written_header if known else dataclasses.replace(written_header, n_samples=None),
        tags=reader.tags,
        choose=(lambda codes: next(counts)) if header.variable else None,
    )
    for chunk in chunks:
        whole = np.zeros((header.channels, header.n_codebooks, chunk.shape[2]), np.uint16)
        whole[:, : chunk.shape[1]] = chunk
        writer.write(whole)
    writer.finish(header.n_samples)
    assert again.getvalue() == data, "a file has more than one form"
    assert survey(data).intact


def at_places(data: bytes) -> None:
    with contextlib.suppress(*REFUSED):
        reader = SeekableReader(io.BytesIO(data), own_coder)
        for first in (0, reader.header.n_frames // 2, MAX_FRAMES):
            for codes in reader.read(first, first + 1)[1]:
                assert int(codes.max()) < reader.header.codebook_size


def by_salvage(data: bytes) -> None:
    if not data:
        return
    with contextlib.suppress(*REFUSED):
        found = survey(data)
        frame = 0
        for run in found.runs:
            assert frame <= run.first < run.stop <= found.header.n_frames
            frame = run.stop
            for codes in read_run(data, found.header, run, own_coder):
                assert int(codes.max()) < found.header.codebook_size


def resealed(data: bytes) -> bytes:
    """`data` with all checksums made right that are where they should be."""
    changed = bytearray(data)
    seal(changed, 0, HEADER_BYTES - 4)
    if len(changed) < HEADER_BYTES:
        return bytes(changed)
    metadata = struct.unpack_from("<I", changed, HEADER_BYTES - 8)[0]
    at = HEADER_BYTES
    if 0 < metadata <= 1 << 16:
        seal(changed, at, at + metadata)
        at += metadata + 4
    digest = 0
    while changed[at : at + 4] == CHUNK_MARKER and at + CHUNK_HEADER_BYTES <= len(changed):
        length = struct.unpack_from("<I", changed, at + 8)[0]
        start, end = at + CHUNK_HEADER_BYTES, at + CHUNK_HEADER_BYTES + length
        crc = crc32c(bytes(changed[start:end]), crc32c(bytes(changed[at : start - 4])))
        changed[start - 4 : start] = struct.pack("<I", crc)
        digest = crc32c(bytes(changed[start - 4 : start]), digest)
        at = end
    if changed[at : at + 4] == INDEX_MARKER and at + 8 <= len(changed):
        end = at + 8 + 8 * struct.unpack_from("<I", changed, at + 4)[0]
        seal(changed, at, end)
        at = end + 4
    if changed[at : at + 4] == TRAILER_MARKER and at + TRAILER_BYTES <= len(changed):
        seal(changed, at + 4, at + HEADER_BYTES)
        changed[at + 80 : at + 84] = struct.pack("<I", digest)
        seal(changed, at, at + 84)
    return bytes(changed)


def seal(data: bytearray, start: int, stop: int) -> None:
    if stop + 4 <= len(data):
        data[stop : stop + 4] = struct.pack("<I", crc32c(bytes(data[start:stop])))


def seed(corpus: Path) -> None:
    """Fill an empty corpus."""
    corpus.mkdir(parents=True, exist_ok=True)
    if any(corpus.iterdir()):
        return
    (corpus / "sound").write_bytes(written(tokens(channels=1), {"title": "x", "artist": "y"}))
    for attack in attacks():
        if len(attack.data) < 10_000:
            (corpus / attack.name).write_bytes(attack.data)
