"""The file part of libcodec's header by ctypes: readers and writers on bytes, for tests."""

from __future__ import annotations

import contextlib
import ctypes as c
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from codec.nac.layout import Header

UNKNOWN = (1 << 64) - 1
READ = c.CFUNCTYPE(c.c_int64, c.c_void_p, c.c_void_p, c.c_size_t)
READ_AT = c.CFUNCTYPE(c.c_int64, c.c_void_p, c.c_uint64, c.c_void_p, c.c_size_t)
WRITE = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.c_size_t)

# Statuses of codec.h.
ARGUMENT, IO, STATE = 1, 4, 9
FORMAT, NOT_NAC, VERSION, TRUNCATED, CHECKSUM, PAYLOAD, CODER = 10, 11, 12, 13, 14, 15, 16
DAMAGE = {FORMAT, NOT_NAC, VERSION, TRUNCATED, CHECKSUM, PAYLOAD}


class Info(c.Structure):
    """codec_file_info."""

    _fields_ = (
        ("n_samples", c.c_uint64),
        *((name, c.c_uint32) for name in (
            "sample_rate", "channels", "codebooks", "codebook_size", "frame_rate", "frame_divisor",
            "chunk_frames", "coder", "variable", "metadata_bytes", "together",
        )),
        ("model_id", c.c_uint8 * 8),
        ("tables_id", c.c_uint8 * 8),
    )  # fmt: skip


class Tag(c.Structure):
    """codec_tag."""

    _fields_ = (("key", c.c_char_p), ("value", c.c_char_p))


class StatusError(Exception):
    """A status that is not CODEC_OK; `status` is its number."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def check(status: int) -> None:
    """Raise StatusError unless `status` is CODEC_OK."""
    if status:
        raise StatusError(status)


def info_of(header: Header) -> Info:
    """Return the C structure of `header`."""
    info = Info(
        UNKNOWN if header.n_samples is None else header.n_samples,
        header.sample_rate, header.channels, header.n_codebooks, header.codebook_size,
        header.frame_rate.numerator, header.frame_rate.denominator, header.frames_per_chunk,
        header.coder_id, header.variable, header.metadata_bytes, header.together,
    )  # fmt: skip
    info.model_id[:] = header.model_id
    info.tables_id[:] = header.tables_id
    return info


class File:
    """A reader: its information, tags, and chunks."""

    def __init__(self, library: c.CDLL, coder: c.c_void_p, reader: c.c_void_p) -> None:
        self._library, self._reader = library, reader
        library.codec_reader_info.restype = c.POINTER(Info)
        library.codec_reader_frame.restype = c.c_uint64
        library.codec_reader_tags.restype = c.c_size_t
        self.tags: dict[str, str] = {}
        for i in range(library.codec_reader_tags(reader)):
            tag = Tag()
            check(library.codec_reader_tag(reader, c.c_size_t(i), c.byref(tag)))
            self.tags[tag.key.decode()] = tag.value.decode()
        check(library.codec_reader_use(reader, coder))
        self.look()
        self.streams = -(-self.info.channels // self.info.together)
        size = self.streams * self.info.codebooks * self.info.chunk_frames
        self._codes = np.empty(size, np.uint16)

    def look(self) -> None:
        """Copy what the reader says of the file by now."""
        self.info = Info.from_buffer_copy(self._library.codec_reader_info(self._reader).contents)

    def next(self) -> np.ndarray[Any, Any] | None:
        """Return the codes uint16 [streams, codebooks, frames] of the next chunk, or None."""
        books, frames = c.c_size_t(), c.c_size_t()
        codes = self._codes
        data, size = codes.ctypes.data_as(c.c_void_p), c.c_size_t(codes.size)
        status = self._library.codec_reader_next(
            self._reader, data, size, c.byref(books), c.byref(frames)
        )
        check(status)
        self.look()
        if not frames.value:
            return None
        shape = (self.streams, books.value, frames.value)
        return codes[: int(np.prod(shape))].reshape(shape).copy()

    def seek(self, frame: int) -> int:
        """Go to the chunk that holds `frame`; return its first frame."""
        check(self._library.codec_reader_seek(self._reader, c.c_uint64(frame)))
        first: int = self._library.codec_reader_frame(self._reader)
        return first


@contextlib.contextmanager
def opened_file(
    library: c.CDLL, coder: c.c_void_p, data: bytes, piece: int = 0, fails: bool = False
) -> Iterator[File]:
    """Open a file in memory, or one that a callback gives, `piece` bytes a call, until it `fails`.

    Raises StatusError.
    """
    reader, at = c.c_void_p(), 0

    def give(_user: int, to: int, n: int) -> int:
        nonlocal at
        part = data[at : at + min(n, piece)]
        c.memmove(to, part, len(part))
        at += len(part)
        return -1 if fails and not part else len(part)

    callback = READ(give)
    if piece:
        check(library.codec_reader_open(callback, None, c.byref(reader)))
    else:
        check(library.codec_reader_open_memory(data, c.c_size_t(len(data)), c.byref(reader)))
    try:
        yield File(library, coder, reader)
    finally:
        library.codec_reader_free(reader)


def read(
    library: c.CDLL, coder: c.c_void_p, data: bytes, piece: int = 0, fails: bool = False
) -> tuple[File, list[np.ndarray[Any, Any]]]:
    """Read a file front to back, as `opened_file`. Raises StatusError."""
    with opened_file(library, coder, data, piece, fails) as file:
        chunks = []
        while (chunk := file.next()) is not None:
            chunks.append(chunk)
        assert file.next() is None
    return file, chunks


class Written:
    """A writer whose bytes are kept, up to `most`; further ones are not taken."""

    def __init__(
        self,
        library: c.CDLL,
        coder: c.c_void_p,
        header: Header,
        tags: Mapping[str, bytes] | None = None,
        most: int = 1 << 40,
    ) -> None:
        self._library = library
        self._writer = c.c_void_p()
        self.data = bytearray()

        def keep(_user: int, bytes_: int, n: int) -> int:
            if len(self.data) + n > most:
                return 1
            self.data += c.string_at(bytes_, n)
            return 0

        self._keep = WRITE(keep)
        given = [Tag(key.encode(), value) for key, value in (tags or {}).items()]
        array = (Tag * len(given))(*given)
        info = info_of(header)
        opened = library.codec_writer_open(
            c.byref(info),
            coder,
            array,
            c.c_size_t(len(given)),
            self._keep,
            None,
            c.byref(self._writer),
        )
        check(opened)

    def __del__(self) -> None:
        self._library.codec_writer_free(self._writer)

    def write(self, codes: np.ndarray[Any, Any]) -> None:
        """Append codes uint16 [streams, codebooks, frames]."""
        codes = np.ascontiguousarray(codes, np.uint16)
        data, frames = codes.ctypes.data_as(c.c_void_p), c.c_size_t(codes.shape[2])
        check(self._library.codec_writer_write(self._writer, data, frames, frames))

    def write_chunk(self, codes: np.ndarray[Any, Any]) -> None:
        """Append a whole chunk of codes uint16 [streams, codebooks, frames]."""
        codes = np.ascontiguousarray(codes, np.uint16)
        _, books, frames = codes.shape
        data = codes.ctypes.data_as(c.c_void_p)
        status = self._library.codec_writer_write_chunk(
            self._writer, data, c.c_size_t(books), c.c_size_t(frames)
        )
        check(status)

    def finish(self, n_samples: int) -> bytes:
        """End the file; return the header that replaces the first one."""
        header = (c.c_uint8 * 64)()
        check(self._library.codec_writer_finish(self._writer, c.c_uint64(n_samples), header))
        return bytes(header)


def written(
    library: c.CDLL,
    coder: c.c_void_p,
    header: Header,
    codes: np.ndarray[Any, Any],
    n_samples: int,
    most: int = 1 << 40,
) -> bytes:
    """Write a whole file of codes uint16 [streams, codebooks, frames]. Raises StatusError."""
    writer = Written(library, coder, header, most=most)
    writer.write(codes)
    writer.finish(n_samples)
    return bytes(writer.data)


@contextlib.contextmanager
def opened_model(library: c.CDLL, path: Path) -> Iterator[c.c_void_p]:
    """Open the model at `path`. Raises StatusError."""
    model, message = c.c_void_p(), c.create_string_buffer(200)
    size = c.c_size_t(200)
    check(library.codec_model_open(os.fsencode(path), None, c.byref(model), message, size))
    try:
        yield model
    finally:
        library.codec_model_free(model)


@contextlib.contextmanager
def opened_coder(
    library: c.CDLL, model: c.c_void_p | None, number: int, data: bytes
) -> Iterator[c.c_void_p]:
    """Open the coder of that number for `model`, with the content of its data file.

    Raises StatusError.
    """
    coder, message = c.c_void_p(), c.create_string_buffer(200)
    given = (c.c_uint32(number), model, data or None, c.c_size_t(len(data)))
    check(library.codec_coder_open(*given, c.byref(coder), message, c.c_size_t(200)))
    try:
        yield coder
    finally:
        library.codec_coder_free(coder)
