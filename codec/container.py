"""The .nac file: a header, chunks of bit-packed codes, and an end that says how long it was.

Every byte is spelled out in the README. What the reader relies on:
- It allocates nothing that a claim of the file decides, beyond one chunk of at most 1 MiB: the
  limits of the header are checked first, and chunks are kept only as they arrive.
- The number of samples comes last, so that a pipe can be written while its end is unknown. It
  must make exactly the frames that were read, so it cannot claim the impossible.
- Each CRC continues from the one before it: a chunk that is damaged, missing, repeated, swapped
  or from another file is noticed, and so is a header put before the wrong chunks.
- A file has one form only: padding is zero, all chunks but the last are full, nothing follows
  the end.
"""

from __future__ import annotations

import dataclasses
import math
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from codec.errors import FormatError, TokensError
from codec.tokens import (
    MAX_CODEBOOK_SIZE,
    MAX_FRAME_RATE_DENOMINATOR,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    Tokens,
    frames_for,
)

Codes = npt.NDArray[np.uint16]

# As in PNG: not text, and damaged visibly by anything that converts line ends or strips bit 7.
MAGIC = b"\x89NAC\r\n\x1a\n"
VERSION = 1
FRAMES_PER_CHUNK = 512
MAX_CHUNK_BYTES = 1 << 20  # one frame of 255 channels x 255 codebooks x 16 bits is 127 KiB

_HEADER = struct.Struct("<8s H B B 8s I I I I H H")
_CRC = struct.Struct("<I")
_COUNT = struct.Struct("<I")
_SAMPLES = struct.Struct("<Q")
HEADER_BYTES = _HEADER.size + _CRC.size
END_BYTES = _COUNT.size + _SAMPLES.size + _CRC.size


def pack_codes(codes: Codes, bits: int) -> bytes:
    """The low `bits` (1 to 16) of each code, most significant first, padded with zero bits."""
    # Two big-endian bytes a code, unpacked, are its 16 bits from the top.
    octets = np.ascontiguousarray(codes, dtype=">u2").reshape(-1).view(np.uint8)
    return np.packbits(np.unpackbits(octets).reshape(-1, 16)[:, 16 - bits :]).tobytes()


def unpack_codes(data: bytes, count: int, bits: int) -> Codes:
    """`count` codes, the inverse of `pack_codes`. Raises FormatError if the padding is not zero."""
    unpacked = np.unpackbits(np.frombuffer(data, np.uint8))
    if unpacked[count * bits :].any():
        raise FormatError("the padding is not zero")
    padded = np.zeros((count, 16), np.uint8)
    padded[:, 16 - bits :] = unpacked[: count * bits].reshape(count, bits)
    return np.packbits(padded).view(">u2").astype(np.uint16)


@dataclasses.dataclass(frozen=True)
class Header:
    """The first 44 bytes of a file. Raises FormatError if a field is out of its limits."""

    channels: int
    n_codebooks: int
    codebook_size: int
    frame_rate: Fraction  # frames a second
    sample_rate: int  # Hz, of the audio that was compressed
    model_id: bytes
    frames_per_chunk: int

    def __post_init__(self) -> None:
        rate, longest = self.frame_rate, MAX_FRAME_RATE_DENOMINATOR
        for name, value, low, high in (
            ("channels", self.channels, 1, 255),
            ("codebooks", self.n_codebooks, 1, 255),
            ("entries a codebook", self.codebook_size, 2, MAX_CODEBOOK_SIZE),
            ("Hz", self.sample_rate, MIN_SAMPLE_RATE, MAX_SAMPLE_RATE),
            ("frames a chunk", self.frames_per_chunk, 1, 0xFFFF),
        ):
            if not low <= value <= high:
                raise FormatError(f"the header claims {value} {name}, outside {low} to {high}")
        if not (0 < rate.numerator <= MAX_SAMPLE_RATE and rate.denominator <= longest):
            raise FormatError(f"the header claims a frame rate of {rate} Hz")
        if self.chunk_bytes(self.frames_per_chunk) > MAX_CHUNK_BYTES:
            raise FormatError(f"the header claims chunks above {MAX_CHUNK_BYTES} bytes")

    @classmethod
    def make(
        cls,
        channels: int,
        n_codebooks: int,
        codebook_size: int,
        frame_rate: Fraction,
        sample_rate: int,
        model_id: bytes,
    ) -> Header:
        """A header with as many frames a chunk as we write."""
        frame_bits = channels * n_codebooks * (codebook_size - 1).bit_length()
        frames = min(FRAMES_PER_CHUNK, MAX_CHUNK_BYTES * 8 // frame_bits)
        return cls(channels, n_codebooks, codebook_size, frame_rate, sample_rate, model_id, frames)

    @classmethod
    def of(cls, tokens: Tokens) -> Header:
        """The header of a file that holds `tokens`."""
        return cls.make(
            tokens.channels,
            tokens.n_codebooks,
            tokens.codebook_size,
            tokens.exact_frame_rate,
            tokens.sample_rate,
            tokens.model_id,
        )

    @property
    def bits_per_code(self) -> int:
        return (self.codebook_size - 1).bit_length()

    def chunk_bytes(self, frames: int) -> int:
        """Bytes that the codes of `frames` frames take in a chunk."""
        return -(-frames * self.channels * self.n_codebooks * self.bits_per_code // 8)

    def pack(self) -> bytes:
        fields = _HEADER.pack(
            MAGIC,
            VERSION,
            self.channels,
            self.n_codebooks,
            self.model_id,
            self.sample_rate,
            self.frame_rate.numerator,
            self.frame_rate.denominator,
            self.codebook_size,
            self.frames_per_chunk,
            0,
        )
        return fields + _CRC.pack(zlib.crc32(fields))

    @classmethod
    def unpack(cls, data: bytes) -> Header:
        """Inverse of `pack`. Raises FormatError on anything that `pack` would not write."""
        if not data.startswith(MAGIC):
            raise FormatError(_not_a_file(data))
        if len(data) < HEADER_BYTES:
            raise FormatError(f"truncated: {len(data)} of the header's {HEADER_BYTES} bytes")
        (_, version, channels, codebooks, model_id, rate, numerator, denominator, size, frames,
         reserved) = _HEADER.unpack_from(data)  # fmt: skip
        if version != VERSION:
            raise FormatError(f"version {version} of the format; this codec reads {VERSION}")
        if _CRC.unpack_from(data, _HEADER.size) != (zlib.crc32(data[: _HEADER.size]),):
            raise FormatError("the header is damaged: its checksum does not match")
        if denominator == 0 or math.gcd(numerator, denominator) != 1 or reserved != 0:
            raise FormatError("the header is not in its one form")
        return cls(
            channels, codebooks, size, Fraction(numerator, denominator), rate, model_id, frames
        )


class Writer:
    """Writes one file to `file`, which need not be seekable, in constant memory.

    Nothing is valid until `finish`.
    """

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self._file = file
        self._header = header
        # Time-major, as in the file: frame, then channel, then codebook.
        shape = (header.frames_per_chunk, header.channels, header.n_codebooks)
        self._chunk = np.empty(shape, np.uint16)
        self._filled = 0
        self._frames = 0
        packed = header.pack()
        self._crc = zlib.crc32(packed[: _HEADER.size])
        file.write(packed)

    def write(self, codes: Codes) -> None:
        """Append `codes` uint16 [channels, codebooks, frames], any number of frames."""
        if codes.shape[:2] != self._chunk.shape[1:]:
            raise TokensError(f"codes of shape {codes.shape} do not fit the header")
        if codes.size and int(codes.max()) >= self._header.codebook_size:
            raise TokensError(f"code {codes.max()} does not fit the header")
        frames = np.moveaxis(codes, 2, 0)
        while len(frames):
            taken = frames[: len(self._chunk) - self._filled]
            self._chunk[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            self._frames += len(taken)
            frames = frames[len(taken) :]
            if self._filled == len(self._chunk):
                self._flush()

    def finish(self, n_samples: int) -> None:
        """Write what is left and the end. Raises TokensError unless `n_samples` make the frames."""
        expected = frames_for(n_samples, self._header.sample_rate, self._header.frame_rate)
        if n_samples < 1 or self._frames != expected:
            raise TokensError(f"{n_samples} samples make {expected} frames, not {self._frames}")
        if self._filled:
            self._flush()
        self._record(_COUNT.pack(0) + _SAMPLES.pack(n_samples))

    def _flush(self) -> None:
        codes = pack_codes(self._chunk[: self._filled], self._header.bits_per_code)
        self._record(_COUNT.pack(self._filled) + codes)
        self._filled = 0

    def _record(self, data: bytes) -> None:
        self._crc = zlib.crc32(data, self._crc)
        self._file.write(data + _CRC.pack(self._crc))


class Reader:
    """Reads one file from `file`, which need not be seekable, in constant memory.

    Iterate over it for the codes, uint16 [channels, codebooks, frames] a chunk; after the last,
    `n_samples` is known. Raises FormatError, also in the iteration, on a file that is not whole
    and sound.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        data = _read(file, HEADER_BYTES)
        self.header = Header.unpack(data)
        self.n_frames = 0
        self.n_chunks = 0
        self.n_bytes = HEADER_BYTES
        self.n_samples: int | None = None
        self._crc = zlib.crc32(data[: _HEADER.size])

    def __iter__(self) -> Iterator[Codes]:
        header = self.header
        full = True
        while frames := self._count():
            if frames > header.frames_per_chunk or not full:
                raise FormatError(f"chunk {self.n_chunks} is damaged: it claims {frames} frames")
            full = frames == header.frames_per_chunk
            name = f"chunk {self.n_chunks}"
            data = self._rest(_COUNT.pack(frames), header.chunk_bytes(frames), name)
            self.n_chunks += 1
            self.n_frames += frames
            count = frames * header.channels * header.n_codebooks
            codes = unpack_codes(data, count, header.bits_per_code)
            if int(codes.max()) >= header.codebook_size:
                raise FormatError(f"{name} holds code {codes.max()}, beyond the codebook")
            shape = (frames, header.channels, header.n_codebooks)
            yield np.moveaxis(codes.reshape(shape), 0, 2)
        (n_samples,) = _SAMPLES.unpack(self._rest(_COUNT.pack(0), _SAMPLES.size, "the end"))
        expected = frames_for(n_samples, header.sample_rate, header.frame_rate)
        if n_samples == 0 or expected != self.n_frames:
            raise FormatError(f"it claims {n_samples} samples but holds {self.n_frames} frames")
        if self._file.read(1):
            raise FormatError("there is more after its end")
        self.n_samples = n_samples

    def _count(self) -> int:
        data = _read(self._file, _COUNT.size)
        if len(data) < _COUNT.size:
            raise FormatError(
                f"truncated after {self.n_frames} frames: chunk {self.n_chunks}, or the end, is"
                " missing"
            )
        (frames,) = _COUNT.unpack(data)
        return int(frames)

    def _rest(self, count: bytes, size: int, name: str) -> bytes:
        """The `size` bytes that follow `count` in a record whose CRC is right."""
        data = _read(self._file, size + _CRC.size)
        if len(data) < size + _CRC.size:
            raise FormatError(f"truncated: {len(data)} of {size + _CRC.size} bytes of {name}")
        self._crc = zlib.crc32(data[:size], zlib.crc32(count, self._crc))
        if _CRC.unpack_from(data, size) != (self._crc,):
            raise FormatError(f"{name} is damaged: its checksum does not match")
        self.n_bytes += _COUNT.size + len(data)
        return data[:size]


def write_tokens(file: BinaryIO, tokens: Tokens) -> None:
    """Write `tokens` as one file."""
    writer = Writer(file, Header.of(tokens))
    writer.write(tokens.codes)
    writer.finish(tokens.n_samples)


def read_tokens(file: BinaryIO) -> Tokens:
    """The tokens of one file. Raises FormatError."""
    reader = Reader(file)
    # At least one chunk: no frames would be no samples, which the reader refuses.
    codes = np.concatenate(list(reader), axis=2)
    assert reader.n_samples is not None  # known once the iteration has ended
    header = reader.header
    return Tokens(
        codes=np.ascontiguousarray(codes),
        frame_rate=float(header.frame_rate),
        n_samples=reader.n_samples,
        sample_rate=header.sample_rate,
        codebook_size=header.codebook_size,
        model_id=header.model_id,
    )


def _read(file: BinaryIO, size: int) -> bytes:
    """Up to `size` bytes: fewer only at the end of the file, though a pipe gives them in bits."""
    parts = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _not_a_file(data: bytes) -> str:
    """Why `data`, the first bytes of a file, are not a .nac file's."""
    if not data:
        return "the file is empty"
    if MAGIC.startswith(data):
        return f"truncated: {len(data)} of the header's {HEADER_BYTES} bytes"
    for kind, magics in {
        "WAV": (b"RIFF", b"RF64"),
        "FLAC": (b"fLaC",),
        "Ogg": (b"OggS",),
        "MP3": (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2"),
        "AIFF": (b"FORM",),
    }.items():
        if data.startswith(magics):
            return f"not a .nac file but {kind} audio, which codec compress takes"
    return "not a .nac file"
