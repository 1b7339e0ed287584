"""Reads .nac files front to back, in constant memory.

docs/format.md has every byte. The reader relies on this:
- The file decides only the size of a chunk, of the metadata and of the index that are allocated;
  each has a limit.
- Chunks are kept only as they arrive, and must make exactly the frames of the samples claimed.
- Every byte is under some CRC; chunks that are missing, repeated, swapped or from another file
  do not fit their place or the trailer's digest.
- A file has one form only: all chunks but the last are full, the index is that of the chunks, the
  trailer repeats the header, nothing follows it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import BinaryIO

from codec.coders.base import Coder
from codec.coders.find import load_coder
from codec.errors import FormatError
from codec.nac.layout import (
    CHUNK_HEADER_BYTES,
    CHUNK_MARKER,
    CRC_BYTES,
    HEADER_BYTES,
    INDEX_MARKER,
    MARKER_BYTES,
    TRAILER_BYTES,
    Chunk,
    Header,
    IndexBuilder,
    Trailer,
    is_sealed,
)
from codec.nac.tags import unpack_metadata
from codec.support.types import Codes
from codec.support.workers import Workers

# The coder for the chunks of a file with this header.
FindCoder = Callable[[Header], Coder]


def own_coder(header: Header) -> Coder:
    """Return the coder of `header`, if it needs no data of a model."""
    return load_coder(header.coder_id, header.codebook_size)


class Reader:
    """Reads one file from `file`, which need not be seekable, in constant memory.

    Iterate over it for the codes, uint16 [streams, codebooks, frames] for each chunk, or over
    `chunks()` for the payloads; then `finish` has the header with the length. `header` is the one
    at the start of the file, which may not know it.

    Raises FormatError, also in the iteration, on a file that is truncated or damaged, and what
    `find_coder` raises on the first chunk.
    """

    def __init__(self, file: BinaryIO, find_coder: FindCoder = own_coder) -> None:
        self._file = file
        self._find_coder = find_coder
        self.n_bytes = 0
        self.header = Header.unpack(self._read(HEADER_BYTES))
        self.tags = read_tags(self._read(self.header.body - HEADER_BYTES), self.header)
        self.n_frames = 0
        self._final: Header | None = None
        self._index = IndexBuilder(self.header)

    @property
    def n_chunks(self) -> int:
        """Chunks read so far."""
        return self._index.n_chunks

    @property
    def n_samples(self) -> int | None:
        """Samples of each channel; None while they are not known."""
        return (self._final or self.header).n_samples

    def finish(self) -> Header:
        """Return the header with the length, after reading any chunks that are left.

        Raises FormatError.
        """
        if self._final is None:
            for _ in self.chunks():
                pass
        assert self._final is not None  # `chunks` ends with it, or raises
        return self._final

    def __iter__(self) -> Iterator[Codes]:
        return self.decoded(Workers())

    def decoded(self, workers: Workers) -> Iterator[Codes]:
        """Give the codes of each chunk, the chunks decoded side by side."""

        def calls() -> Iterator[Callable[[], Codes]]:
            coder: Coder | None = None
            for number, chunk in enumerate(self.chunks()):
                coder = coder or self._find_coder(self.header)
                yield functools.partial(decode_chunk, coder, self.header, chunk, number)

        return workers.run(calls())

    def chunks(self) -> Iterator[Chunk]:
        """Give the chunks, with their CRCs checked and their payloads still coded."""
        header = self.header
        full = True
        while (marker := self._read(MARKER_BYTES)) == CHUNK_MARKER:
            name = f"chunk {self.n_chunks}"
            data = marker + self._exactly(CHUNK_HEADER_BYTES - MARKER_BYTES, name)
            try:
                chunk, length, crc = Chunk.unpack_header(data, header)
            except FormatError as error:
                raise FormatError(f"{name} is damaged: {error}") from None
            payload = self._exactly(length, name)
            if not Chunk.is_intact(data, payload):
                raise FormatError(f"{name} is damaged: its checksum does not match")
            if chunk.first_frame != self.n_frames or not full:
                raise FormatError(f"{name} is damaged: it does not belong here")
            full = chunk.frames == header.frames_per_chunk
            self._index.add(self.n_bytes - CHUNK_HEADER_BYTES - length, crc)
            self.n_frames += chunk.frames
            yield dataclasses.replace(chunk, payload=payload)
        self._end(marker)

    def _end(self, marker: bytes) -> None:
        if len(marker) < MARKER_BYTES:
            raise FormatError(
                f"truncated after {self.n_frames} frames: chunk {self.n_chunks}, or the end, is"
                " missing"
            )
        at = self.n_bytes - MARKER_BYTES
        if marker != INDEX_MARKER:
            raise FormatError(f"chunk {self.n_chunks} is damaged: it does not start as one")
        expected = self._index.pack()
        if marker + self._exactly(len(expected) - MARKER_BYTES, "the index") != expected:
            raise FormatError("the index is damaged: it is not that of the chunks")
        trailer = Trailer.unpack(self._exactly(TRAILER_BYTES, "the trailer"))
        header = dataclasses.replace(self.header, n_samples=trailer.header.n_samples)
        if trailer.header != header or self.header.n_samples not in (None, header.n_samples):
            raise FormatError("header and trailer do not agree")
        if header.n_frames != self.n_frames:
            raise FormatError(
                f"it claims {header.n_samples} samples but holds {self.n_frames} frames"
            )
        if trailer != Trailer(header, at, self._index.n_chunks, self._index.digest):
            raise FormatError("the trailer is damaged: it is not that of the chunks")
        if self._file.read(1):
            raise FormatError("there is more after its end")
        self._final = header

    def _exactly(self, size: int, name: str) -> bytes:
        data = self._read(size)
        if len(data) < size:
            raise FormatError(f"truncated: {len(data)} of {size} bytes of {name}")
        return data

    def _read(self, size: int) -> bytes:
        """Read `size` bytes, in as many parts as a pipe gives them; fewer only at the end."""
        parts = []
        while size and (part := self._file.read(size)):
            parts.append(part)
            size -= len(part)
            self.n_bytes += len(part)
        return b"".join(parts)


def read_tags(data: bytes, header: Header) -> dict[str, str]:
    """Return the tags in the block between `header` and the first chunk. Raises FormatError."""
    if not header.metadata_bytes:
        return {}
    if len(data) < header.body - HEADER_BYTES:
        raise FormatError("truncated in the metadata")
    if not is_sealed(data):
        raise FormatError("the metadata are damaged: their checksum does not match")
    return unpack_metadata(data[:-CRC_BYTES])


def decode_chunk(coder: Coder, header: Header, chunk: Chunk, number: int) -> Codes:
    """Decode a chunk to codes uint16 [streams, codebooks, frames]. Raises FormatError."""
    try:
        return coder.decode(chunk.payload, header.streams, chunk.n_codebooks, chunk.frames)
    except FormatError as error:
        raise FormatError(f"chunk {number} cannot be decoded: {error}") from None
