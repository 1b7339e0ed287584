"""Writing and reading whole .nac files, front to back, in constant memory.

docs/format.md has every byte. What the reader relies on:
- It allocates nothing that a claim of the file decides, beyond one chunk, the metadata and the
  index, each of which has a limit.
- Chunks are kept only as they arrive, and must make exactly the frames of the samples claimed.
- Every byte is under some CRC; chunks that are missing, repeated, swapped or from another file
  do not fit their place or the trailer's digest.
- A file has one form only: all chunks but the last are full, the index is that of the chunks, the
  trailer repeats the header, nothing follows it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from codec.coders.base import Coder, RawCoder
from codec.coders.find import load_coder
from codec.errors import FormatError, TokensError
from codec.model.limits import frames_for
from codec.nac.layout import (
    CHUNK_HEADER_BYTES,
    CHUNK_MARKER,
    CRC_BYTES,
    HEADER_BYTES,
    INDEX_MARKER,
    MARKER_BYTES,
    MAX_FRAMES,
    TRAILER_BYTES,
    Chunk,
    Header,
    IndexBuilder,
    Trailer,
    is_sealed,
    sealed,
)
from codec.nac.tags import pack_metadata, unpack_metadata
from codec.support.workers import Workers

Codes = npt.NDArray[np.uint16]

# The coder for the chunks of a file with this header.
FindCoder = Callable[[Header], Coder]


def own_coder(header: Header) -> Coder:
    """The coder of `header`, if it needs no data of a model."""
    return load_coder(header.coder_id, header.codebook_size)


class Writer:
    """Writes one file to `file`, which need not be seekable, in constant memory.

    header: its coder and metadata are filled in here. choose: how many codebooks to keep of the
    codes uint16 [channels, codebooks, frames] of a chunk; by default all, of every chunk.

    Nothing is whole until `finish`, but every chunk that was written can be read.
    """

    def __init__(
        self,
        file: BinaryIO,
        header: Header,
        coder: Coder | None = None,
        tags: Mapping[str, str] | None = None,
        choose: Callable[[Codes], int] | None = None,
    ) -> None:
        self._file = file
        self._coder = coder or RawCoder(header.codebook_size)
        self._choose = choose
        metadata = pack_metadata(tags or {})
        self.header = dataclasses.replace(
            header,
            coder_id=self._coder.coder_id,
            tables_id=self._coder.tables_id,
            variable=choose is not None,
            metadata_bytes=len(metadata),
        )
        shape = (header.channels, header.n_codebooks, header.frames_per_chunk)
        self._chunk = np.empty(shape, np.uint16)
        self._filled = 0
        self._frames = 0  # before those of `_chunk`
        self._index = IndexBuilder(self.header)
        self._offset = 0
        self._write(self.header.pack() + (sealed(metadata) if metadata else b""))

    @property
    def n_frames(self) -> int:
        """Frames that were given so far."""
        return self._frames + self._filled

    def write(self, codes: Codes) -> None:
        """Append `codes` uint16 [channels, codebooks, frames], any number of frames.

        A chunk goes to the file as soon as it is full.
        """
        for chunk in self._cut(codes):
            self._put(*self._code(chunk))

    def write_all(self, spans: Iterable[Codes], workers: Workers) -> Iterator[int]:
        """`write` of each of `spans` and of what is left, the chunks coded side by side.

        Gives the number of frames in the file after every chunk.
        """

        def chunks() -> Iterator[Codes]:
            for codes in spans:
                yield from self._cut(codes)
            if self._filled:
                yield self._take()

        calls = (functools.partial(self._code, chunk) for chunk in chunks())
        for frames, n_codebooks, payload in workers.run(calls):
            self._put(frames, n_codebooks, payload)
            yield self._frames

    def finish(self, n_samples: int) -> Header:
        """Write what is left, the index and the trailer.

        Gives the header with the length in it, which may take the place of the first one where a
        file can seek. Raises TokensError unless `n_samples` make the frames.
        """
        header, frames = self.header, self.n_frames
        expected = frames_for(n_samples, header.sample_rate, header.frame_rate)
        if n_samples < 1 or frames != expected or header.n_samples not in (None, n_samples):
            raise TokensError(f"{n_samples} samples make {expected} frames, not {frames}")
        if self._filled:
            self._put(*self._code(self._take()))
        final = dataclasses.replace(header, n_samples=n_samples)
        at = self._offset
        self._write(self._index.pack())
        self._write(Trailer(final, at, self._index.n_chunks, self._index.digest).pack())
        return final

    def _cut(self, codes: Codes) -> Iterator[Codes]:
        """The chunks that are full once `codes` are added to what was left."""
        if codes.shape[:2] != self._chunk.shape[:2]:
            raise TokensError(f"codes of shape {codes.shape} do not fit the header")
        if codes.size and int(codes.max()) >= self.header.codebook_size:
            raise TokensError(f"code {codes.max()} does not fit the header")
        full = self.header.frames_per_chunk
        while codes.shape[2]:
            taken = codes[:, :, : full - self._filled]
            self._chunk[:, :, self._filled : self._filled + taken.shape[2]] = taken
            self._filled += taken.shape[2]
            codes = codes[:, :, taken.shape[2] :]
            if self._filled == full:
                yield self._take()

    def _take(self) -> Codes:
        chunk = self._chunk[:, :, : self._filled].copy()
        self._filled = 0
        return chunk

    def _code(self, codes: Codes) -> tuple[int, int, bytes]:
        if self._choose is not None:
            codes = codes[:, : self._choose(codes)]
        return codes.shape[2], codes.shape[1], self._coder.encode(codes)

    def _put(self, frames: int, n_codebooks: int, payload: bytes) -> None:
        if self._frames + frames > MAX_FRAMES:
            raise TokensError(f"more than {MAX_FRAMES} frames")
        packed = Chunk(self._frames, frames, n_codebooks, payload).pack()
        self._index.add(self._offset, packed[CHUNK_HEADER_BYTES - CRC_BYTES : CHUNK_HEADER_BYTES])
        self._write(packed)
        self._frames += frames

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._offset += len(data)


class Reader:
    """Reads one file from `file`, which need not be seekable, in constant memory.

    Iterate over it for the codes, uint16 [channels, codebooks, frames] a chunk, or over `chunks()`
    for what they are made of; after the last, `header.n_samples` is known. Raises FormatError,
    also in the iteration, on a file that is not whole and sound, and what `find_coder` raises on
    the first chunk.
    """

    def __init__(self, file: BinaryIO, find_coder: FindCoder = own_coder) -> None:
        self._file = file
        self._find_coder = find_coder
        self.n_bytes = 0
        self.header = Header.unpack(self._read(HEADER_BYTES))
        self.tags = read_tags(self._read(self.header.body - HEADER_BYTES), self.header)
        self.n_frames = 0
        self._index = IndexBuilder(self.header)

    @property
    def n_chunks(self) -> int:
        """Chunks that were read so far."""
        return self._index.n_chunks

    @property
    def n_samples(self) -> int | None:
        """Samples of each channel; None while they are not known."""
        return self.header.n_samples

    def __iter__(self) -> Iterator[Codes]:
        return self.decoded(Workers())

    def decoded(self, workers: Workers) -> Iterator[Codes]:
        """The codes of each chunk, the chunks decoded side by side."""

        def calls() -> Iterator[Callable[[], Codes]]:
            coder: Coder | None = None
            for number, chunk in enumerate(self.chunks()):
                coder = coder or self._find_coder(self.header)
                yield functools.partial(decode_chunk, coder, self.header, chunk, number)

        return workers.run(calls())

    def chunks(self) -> Iterator[Chunk]:
        """The chunks, their CRCs checked and their codes not decoded."""
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
            if not Chunk.is_sound(data, payload):
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
        self.header = header

    def _exactly(self, size: int, name: str) -> bytes:
        data = self._read(size)
        if len(data) < size:
            raise FormatError(f"truncated: {len(data)} of {size} bytes of {name}")
        return data

    def _read(self, size: int) -> bytes:
        """Up to `size` bytes: fewer only at the end, though a pipe gives them in bits."""
        parts = []
        while size and (part := self._file.read(size)):
            parts.append(part)
            size -= len(part)
            self.n_bytes += len(part)
        return b"".join(parts)


def read_tags(data: bytes, header: Header) -> dict[str, str]:
    """The tags in the block between `header` and the first chunk. Raises FormatError."""
    if not header.metadata_bytes:
        return {}
    if len(data) < header.body - HEADER_BYTES:
        raise FormatError("truncated in the metadata")
    if not is_sealed(data):
        raise FormatError("the metadata are damaged: their checksum does not match")
    return unpack_metadata(data[:-CRC_BYTES])


def decode_chunk(coder: Coder, header: Header, chunk: Chunk, number: int) -> Codes:
    """The codes uint16 [channels, codebooks, frames] of a chunk. Raises FormatError."""
    try:
        return coder.decode(chunk.payload, header.channels, chunk.n_codebooks, chunk.frames)
    except FormatError as error:
        raise FormatError(f"chunk {number} cannot be decoded: {error}") from None
