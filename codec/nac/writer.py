"""Writes .nac files front to back, in constant memory; docs/format.md has every byte."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import BinaryIO, NamedTuple

import numpy as np

from codec.coders.base import Coder, RawCoder
from codec.errors import TokensError
from codec.model.limits import frames_for
from codec.nac.layout import (
    CHUNK_HEADER_BYTES,
    CRC_BYTES,
    MAX_FRAMES,
    Chunk,
    Header,
    IndexBuilder,
    Trailer,
    sealed,
)
from codec.nac.tags import pack_metadata
from codec.support.types import Codes
from codec.support.workers import Workers


class Place(NamedTuple):
    """How far a `Writer` is."""

    offset: int
    frames: int
    unwritten: Codes
    indexed: tuple[int, int, int]


class Writer:
    """Writes one file to `file`, which need not be seekable, in constant memory.

    header: its coder and metadata are filled in here.
    choose: tells how many codebooks to keep of a chunk, from its codes uint16 [streams,
        codebooks, frames]; by default all are kept.
    variable: chunks may have fewer codebooks than the header says; so if there is `choose`.

    The file is complete after `finish`; every chunk written before can be read already.
    """

    def __init__(
        self,
        file: BinaryIO,
        header: Header,
        coder: Coder | None = None,
        tags: Mapping[str, str] | None = None,
        choose: Callable[[Codes], int] | None = None,
        *,
        variable: bool = False,
    ) -> None:
        self._file = file
        self._coder = coder or RawCoder(header.codebook_size)
        self._choose = choose
        metadata = pack_metadata(tags or {})
        self.header = dataclasses.replace(
            header,
            coder_id=self._coder.coder_id,
            tables_id=self._coder.tables_id,
            variable=variable or choose is not None,
            metadata_bytes=len(metadata),
        )
        shape = (header.streams, header.n_codebooks, header.frames_per_chunk)
        self._chunk = np.empty(shape, np.uint16)
        self._filled = 0
        self._frames = 0  # before those of `_chunk`
        self._index = IndexBuilder(self.header)
        self._offset = 0
        self._write(self.header.pack() + (sealed(metadata) if metadata else b""))

    @property
    def n_frames(self) -> int:
        """Frames given so far."""
        return self._frames + self._filled

    def place(self) -> Place:
        """Return how far the file is, for `return_to`."""
        unwritten = self._chunk[:, :, : self._filled].copy()
        return Place(self._offset, self._frames, unwritten, self._index.place())

    def return_to(self, place: Place) -> None:
        """Forget what was given after `place`, and cut it off the file, which must be seekable."""
        self._file.seek(place.offset)
        self._file.truncate()
        self._offset, self._frames = place.offset, place.frames
        self._filled = place.unwritten.shape[2]
        self._chunk[:, :, : self._filled] = place.unwritten
        self._index.return_to(place.indexed)

    def write(self, codes: Codes) -> None:
        """Append `codes` uint16 [streams, codebooks, frames], any number of frames.

        A chunk goes to the file as soon as it is full.
        """
        for chunk in self._full_chunks(codes):
            self._write_chunk(*self._encode(chunk))

    def write_all(self, spans: Iterable[Codes], workers: Workers) -> Iterator[int]:
        """Write each of `spans` and the rest, coding chunks side by side.

        Gives the number of frames in the file after every chunk.
        """

        def chunks() -> Iterator[Codes]:
            for codes in spans:
                yield from self._full_chunks(codes)
            if self._filled:
                yield self._take_chunk()

        calls = (functools.partial(self._encode, chunk) for chunk in chunks())
        for frames, n_codebooks, payload in workers.run(calls):
            self._write_chunk(frames, n_codebooks, payload)
            yield self._frames

    def write_chunks(self, chunks: Iterable[Codes], workers: Workers) -> Iterator[int]:
        """Write whole chunks of codes uint16 [streams, codebooks, frames], coded side by side.

        Each is as long as the header says, except the last, and may have a number of codebooks of
        its own, if the header says `variable`. Gives the frames in the file after every chunk.
        Raises TokensError on a chunk that does not fit the header.
        """
        header = self.header

        def calls() -> Iterator[Callable[[], tuple[int, int, bytes]]]:
            full = True
            for codes in chunks:
                streams, count, frames = codes.shape
                fewest = 1 if header.variable else header.n_codebooks
                if (
                    not full
                    or streams != header.streams
                    or not fewest <= count <= header.n_codebooks
                    or not 1 <= frames <= header.frames_per_chunk
                    or int(codes.max()) >= header.codebook_size
                ):
                    raise TokensError(f"a chunk of shape {codes.shape} does not fit the header")
                full = frames == header.frames_per_chunk
                yield functools.partial(self._encode, codes)

        for frames, n_codebooks, payload in workers.run(calls()):
            self._write_chunk(frames, n_codebooks, payload)
            yield self._frames

    def finish(self, n_samples: int) -> Header:
        """Write the last chunk, the index and the trailer.

        Returns the header with the length in it; where a file can seek, it may replace the first
        one. Raises TokensError unless `n_samples` samples make exactly the frames given.
        """
        header, frames = self.header, self.n_frames
        expected = frames_for(n_samples, header.sample_rate, header.frame_rate)
        if n_samples < 1 or frames != expected or header.n_samples not in (None, n_samples):
            raise TokensError(f"{n_samples} samples make {expected} frames, not {frames}")
        if self._filled:
            self._write_chunk(*self._encode(self._take_chunk()))
        final = dataclasses.replace(header, n_samples=n_samples)
        at = self._offset
        self._write(self._index.pack())
        self._write(Trailer(final, at, self._index.n_chunks, self._index.digest).pack())
        return final

    def _full_chunks(self, codes: Codes) -> Iterator[Codes]:
        """Add `codes` to the chunk that is being filled, and give every chunk that is full."""
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
                yield self._take_chunk()

    def _take_chunk(self) -> Codes:
        chunk = self._chunk[:, :, : self._filled].copy()
        self._filled = 0
        return chunk

    def _encode(self, codes: Codes) -> tuple[int, int, bytes]:
        if self._choose is not None:
            codes = codes[:, : self._choose(codes)]
        return codes.shape[2], codes.shape[1], self._coder.encode(codes)

    def _write_chunk(self, frames: int, n_codebooks: int, payload: bytes) -> None:
        if self._frames + frames > MAX_FRAMES:
            raise TokensError(f"more than {MAX_FRAMES} frames")
        packed = Chunk(self._frames, frames, n_codebooks, payload).pack()
        self._index.add(self._offset, packed[CHUNK_HEADER_BYTES - CRC_BYTES : CHUNK_HEADER_BYTES])
        self._write(packed)
        self._frames += frames

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._offset += len(data)
