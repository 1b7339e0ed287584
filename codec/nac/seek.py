"""Reads any stretch of a file without the chunks before it: the index leads to the first one."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import BinaryIO

from codec.coders.base import Coder
from codec.errors import FormatError
from codec.nac.layout import (
    CHUNK_HEADER_BYTES,
    CHUNK_MARKER,
    HEADER_BYTES,
    TRAILER_BYTES,
    Chunk,
    Header,
    Trailer,
    index_bytes,
    unpack_index,
)
from codec.nac.reader import FindCoder, decode_chunk, read_tags
from codec.support.types import Codes


class SeekableReader:
    """Reads stretches of one file from `file`, which must be seekable.

    Only the header, the trailer, the index and the chunks of a stretch are checked. The length is
    known. Raises FormatError.
    """

    def __init__(self, file: BinaryIO, find_coder: FindCoder) -> None:
        self._file = file
        self._find_coder = find_coder
        file.seek(0)
        header = Header.unpack(file.read(HEADER_BYTES))
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TRAILER_BYTES))
        trailer = Trailer.unpack(file.read(TRAILER_BYTES))
        if trailer.header != dataclasses.replace(header, n_samples=trailer.header.n_samples):
            raise FormatError("header and trailer do not agree")
        if not header.body <= trailer.index_offset <= size - TRAILER_BYTES - index_bytes(0):
            raise FormatError("the trailer is damaged: the index lies outside the file")
        self.header = trailer.header
        if trailer.n_chunks != -(-trailer.header.n_frames // header.frames_per_chunk):
            raise FormatError("the trailer is damaged: its chunks do not make its samples")
        points = -(-trailer.n_chunks // header.index_stride)
        if size - TRAILER_BYTES - trailer.index_offset != index_bytes(points):
            raise FormatError("the index is damaged: it is not as long as the trailer says")
        file.seek(trailer.index_offset)
        self._points = unpack_index(file.read(index_bytes(points)))
        self._end = trailer.index_offset

    @property
    def tags(self) -> dict[str, str]:
        """The tags. Raises FormatError if they are damaged."""
        self._file.seek(HEADER_BYTES)
        return read_tags(self._file.read(self.header.body - HEADER_BYTES), self.header)

    def read(self, first: int, stop: int) -> tuple[int, Iterator[Codes]]:
        """Read the chunks that hold frames `first` to `stop`.

        Returns the first frame of the first chunk, at most `first`, and the codes uint16
        [channels, codebooks, frames] of each chunk; the last may go beyond `stop`.
        """
        step = self.header.frames_per_chunk
        point = min(first // (step * self.header.index_stride), len(self._points) - 1)
        start = first // step * step
        return start, self._chunks(self._points[point], start, stop)

    def _chunks(self, offset: int, first: int, stop: int) -> Iterator[Codes]:
        header, coder = self.header, None
        stop = min(stop, header.n_frames)
        frame = -1
        while frame < stop:
            # The lengths that led here may be those of damaged chunks, which were passed over.
            if offset >= self._end:
                raise FormatError("the index, or a chunk before these frames, is damaged")
            self._file.seek(offset)
            fields = self._file.read(CHUNK_HEADER_BYTES)
            if len(fields) < CHUNK_HEADER_BYTES or not fields.startswith(CHUNK_MARKER):
                raise FormatError("the index is damaged: it does not point at a chunk")
            chunk, length, _ = Chunk.unpack_header(fields, header)
            number = chunk.first_frame // header.frames_per_chunk
            if frame not in (-1, chunk.first_frame) or (frame < 0 and chunk.first_frame > first):
                raise FormatError(f"chunk {number} is damaged: it does not belong here")
            if chunk.first_frame >= first:
                payload = self._file.read(length)
                if len(payload) < length or not Chunk.is_intact(fields, payload):
                    raise FormatError(f"chunk {number} is damaged: its checksum does not match")
                coder = coder or self._coder()
                yield decode_chunk(
                    coder, header, dataclasses.replace(chunk, payload=payload), number
                )
            offset += CHUNK_HEADER_BYTES + length
            frame = chunk.first_frame + chunk.frames

    def _coder(self) -> Coder:
        return self._find_coder(self.header)
