"""Packs and unpacks the parts of a .nac file, as docs/format.md defines them.

Every field is checked against its limit here, before any code acts on it.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from fractions import Fraction

from codec.coders.base import TABLES_ID_BYTES, RawCoder
from codec.errors import FormatError
from codec.model.limits import (
    MAX_CODEBOOK_SIZE,
    MAX_FRAME_RATE_DENOMINATOR,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    count_streams,
    frames_for,
)
from codec.nac.crc32c import crc32c

# As in PNG: not text, and damaged visibly by anything that converts line ends or strips bit 7.
MAGIC = b"\x89NAC\r\n\x1a\n"
END_MAGIC = b"\x89NACend\n"
CHUNK_MARKER = b"\x9eCK\xf6"  # no UTF-8 text holds its first byte before an ASCII letter
INDEX_MARKER = b"\x9eIX\xf6"
TRAILER_MARKER = b"\x9eEN\xf6"
MARKER_BYTES = 4

VERSION = 2
CHUNK_SECONDS = 2
MAX_CHUNK_CODES = 1 << 19  # of all channels, codebooks and frames: 1 MiB as uint16
MAX_PAYLOAD_BYTES = 1 << 20
MAX_METADATA_BYTES = 1 << 16
MAX_FRAMES = (1 << 32) - 1
MAX_INDEX_POINTS = 1 << 20

_UNKNOWN = (1 << 64) - 1
_VARIABLE, _PAIRS = 1, 2  # bits of the flags

_HEADER = struct.Struct("<8s H B B 8s 8s I Q I I I H B B I")
_CHUNK = struct.Struct("<4s I I H B B")
_INDEX = struct.Struct("<4s I")
_TRAILER = struct.Struct("<Q I I")
_CRC = struct.Struct("<I")
CRC_BYTES = _CRC.size
HEADER_BYTES = _HEADER.size + CRC_BYTES
CHUNK_HEADER_BYTES = _CHUNK.size + CRC_BYTES
TRAILER_BYTES = MARKER_BYTES + HEADER_BYTES + _TRAILER.size + CRC_BYTES + len(END_MAGIC)


@dataclasses.dataclass(frozen=True)
class Header:
    """The first 64 bytes of a file. Raises FormatError if a field is out of its limits."""

    channels: int
    n_codebooks: int  # of every chunk, or the most of any if `variable`
    codebook_size: int
    frame_rate: Fraction  # frames a second
    sample_rate: int  # Hz, of the audio that was compressed
    model_id: bytes
    frames_per_chunk: int
    n_samples: int | None = None  # of each channel; None: the trailer knows
    coder_id: int = RawCoder.coder_id
    tables_id: bytes = RawCoder.tables_id
    variable: bool = False
    metadata_bytes: int = 0
    together: int = 1  # channels that one stream of codes carries: 1, or 2 as mid and side

    def __post_init__(self) -> None:
        rate, longest = self.frame_rate, MAX_FRAME_RATE_DENOMINATOR
        for name, value, low, high in (
            ("channels", self.channels, 1, 255),
            ("codebooks", self.n_codebooks, 1, 255),
            ("entries a codebook", self.codebook_size, 2, MAX_CODEBOOK_SIZE),
            ("Hz", self.sample_rate, MIN_SAMPLE_RATE, MAX_SAMPLE_RATE),
            ("frames a chunk", self.frames_per_chunk, 1, 0xFFFF),
            ("bytes of metadata", self.metadata_bytes, 0, MAX_METADATA_BYTES),
            ("channels together", self.together, 1, 2),
        ):
            if not low <= value <= high:
                raise FormatError(f"the header claims {value} {name}, outside {low} to {high}")
        # No more frames than samples: then some number of samples makes any number of frames.
        if not (0 < rate <= self.sample_rate and rate.denominator <= longest):
            raise FormatError(f"the header claims a frame rate of {rate} Hz")
        if self.streams * self.n_codebooks * self.frames_per_chunk > MAX_CHUNK_CODES:
            raise FormatError(f"the header claims chunks of more than {MAX_CHUNK_CODES} codes")
        if self.n_samples is not None and not 1 <= self.n_frames <= MAX_FRAMES:
            raise FormatError(f"the header claims {self.n_samples} samples")

    @classmethod
    def make(
        cls,
        *,
        channels: int,
        n_codebooks: int,
        codebook_size: int,
        frame_rate: Fraction,
        sample_rate: int,
        model_id: bytes,
        n_samples: int | None = None,
        live: bool = False,
        together: int = 1,
    ) -> Header:
        """Make a header whose chunks last `CHUNK_SECONDS`, or one frame if `live`."""
        frames = max(1, int(CHUNK_SECONDS * frame_rate))
        most = MAX_CHUNK_CODES // (count_streams(channels, together) * n_codebooks)
        frames = 1 if live else min(frames, most, 0xFFFF)
        return cls(
            channels=channels,
            n_codebooks=n_codebooks,
            codebook_size=codebook_size,
            frame_rate=frame_rate,
            sample_rate=sample_rate,
            model_id=model_id,
            frames_per_chunk=frames,
            n_samples=n_samples,
            together=together,
        )

    @property
    def streams(self) -> int:
        """Streams of codes: one for each channel, or for each two that are coded together."""
        return count_streams(self.channels, self.together)

    @property
    def bits_per_code(self) -> int:
        return (self.codebook_size - 1).bit_length()

    @property
    def length(self) -> int:
        """Samples of each channel. Raises FormatError while only the trailer knows them."""
        if self.n_samples is None:
            raise FormatError("the length is not known before the end of the file")
        return self.n_samples

    @property
    def n_frames(self) -> int:
        """Frames of the whole file; 0 while they are not known."""
        return frames_for(self.n_samples or 0, self.sample_rate, self.frame_rate)

    @property
    def index_stride(self) -> int:
        """Chunks from one point of the index to the next: at least `CHUNK_SECONDS` of them."""
        rate = self.frame_rate
        return -(-CHUNK_SECONDS * rate.numerator // (rate.denominator * self.frames_per_chunk))

    @property
    def body(self) -> int:
        """Offset of the first chunk."""
        return HEADER_BYTES + (self.metadata_bytes + CRC_BYTES if self.metadata_bytes else 0)

    def pack(self) -> bytes:
        return sealed(
            _HEADER.pack(
                MAGIC,
                VERSION,
                _VARIABLE * self.variable | _PAIRS * (self.together == 2),
                self.coder_id,
                self.model_id,
                self.tables_id,
                self.sample_rate,
                _UNKNOWN if self.n_samples is None else self.n_samples,
                self.frame_rate.numerator,
                self.frame_rate.denominator,
                self.codebook_size,
                self.frames_per_chunk,
                self.channels,
                self.n_codebooks,
                self.metadata_bytes,
            )
        )

    @classmethod
    def unpack(cls, data: bytes) -> Header:
        """Inverse of `pack`. Raises FormatError on anything that `pack` would not write."""
        if not data.startswith(MAGIC):
            raise FormatError(_not_a_file(data))
        version = int.from_bytes(data[len(MAGIC) : len(MAGIC) + 2], "little")
        if len(data) >= len(MAGIC) + 2 and version != VERSION:
            what = ", a development format that is no longer read" if version == 1 else ""
            raise FormatError(f"version {version}{what}; this codec reads version {VERSION}")
        if len(data) < HEADER_BYTES:
            raise FormatError(f"truncated: {len(data)} of the header's {HEADER_BYTES} bytes")
        if not is_sealed(data[:HEADER_BYTES]):
            raise FormatError("the header is damaged: its checksum does not match")
        (_, _, flags, coder_id, model_id, tables_id, rate, n_samples, numerator, denominator,
         size, frames, channels, codebooks, metadata_bytes) = _HEADER.unpack_from(data)  # fmt: skip
        if flags > _VARIABLE | _PAIRS or denominator == 0 or math.gcd(numerator, denominator) != 1:
            raise FormatError("the header is not in its one form")
        if coder_id == RawCoder.coder_id and tables_id != bytes(TABLES_ID_BYTES):
            raise FormatError("the header names tables, which raw codes have none of")
        return cls(
            channels=channels,
            n_codebooks=codebooks,
            codebook_size=size,
            frame_rate=Fraction(numerator, denominator),
            sample_rate=rate,
            model_id=model_id,
            frames_per_chunk=frames,
            n_samples=None if n_samples == _UNKNOWN else n_samples,
            coder_id=coder_id,
            tables_id=tables_id,
            variable=bool(flags & _VARIABLE),
            metadata_bytes=metadata_bytes,
            together=2 if flags & _PAIRS else 1,
        )


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some frames of a file, coded independently of all others."""

    first_frame: int
    frames: int
    n_codebooks: int
    payload: bytes

    def pack(self) -> bytes:
        """Pack the chunk as in the file; the CRC is the last field before the payload."""
        fields = _CHUNK.pack(
            CHUNK_MARKER, self.first_frame, len(self.payload), self.frames, self.n_codebooks, 0
        )
        return fields + _CRC.pack(crc32c(self.payload, crc32c(fields))) + self.payload

    @classmethod
    def unpack_header(cls, data: bytes, header: Header) -> tuple[Chunk, int, bytes]:
        """Return a chunk without its payload, the payload's length, and the CRC of both.

        data: `CHUNK_HEADER_BYTES`, the first of which are the marker. Raises FormatError on what a
        file with `header` cannot hold.
        """
        _, first, length, frames, codebooks, zero = _CHUNK.unpack_from(data)
        most, step = header.n_codebooks, header.frames_per_chunk
        least = 1 if header.variable else most
        # A range coder drops the zeros at the end of its bytes, and may be left with none.
        shortest = 1 if header.coder_id == RawCoder.coder_id else 0
        for possible, claim in (
            (1 <= frames <= step, f"{frames} frames, outside 1 to {step}"),
            (first % step == 0, f"to start at frame {first}, no multiple of {step}"),
            (first + frames <= MAX_FRAMES, f"frames beyond {MAX_FRAMES}"),
            (least <= codebooks <= most, f"{codebooks} codebooks, outside {least} to {most}"),
            (shortest <= length <= MAX_PAYLOAD_BYTES, f"a payload of {length} bytes"),
            (zero == 0, f"{zero} in a field that is always 0"),
        ):
            if not possible:
                raise FormatError(f"it claims {claim}")
        return cls(first, frames, codebooks, b""), length, data[_CHUNK.size : CHUNK_HEADER_BYTES]

    @staticmethod
    def is_intact(data: bytes, payload: bytes) -> bool:
        """Tell whether the CRC in `data`, a chunk's `CHUNK_HEADER_BYTES`, fits both."""
        crc = crc32c(payload, crc32c(data[: _CHUNK.size]))
        return _CRC.unpack_from(data, _CHUNK.size) == (crc,)


class IndexBuilder:
    """Builds the index of a file while its chunks are written, or read, one after another."""

    def __init__(self, header: Header) -> None:
        self._stride = header.index_stride
        self._offsets = bytearray()
        self.n_chunks = 0
        self.digest = 0

    def add(self, offset: int, crc: bytes) -> None:
        """Add the next chunk, at `offset`, with its CRC. Raises FormatError beyond the limit."""
        if self.n_chunks % self._stride == 0:
            if len(self._offsets) // 8 == MAX_INDEX_POINTS:
                raise FormatError(f"more than {MAX_INDEX_POINTS} chunks to index")
            self._offsets += offset.to_bytes(8, "little")
        self.n_chunks += 1
        self.digest = crc32c(crc, self.digest)

    def place(self) -> tuple[int, int, int]:
        """Return how far the index is, for `return_to`."""
        return len(self._offsets), self.n_chunks, self.digest

    def return_to(self, place: tuple[int, int, int]) -> None:
        """Forget the chunks that were added after `place`."""
        size, self.n_chunks, self.digest = place
        del self._offsets[size:]

    def pack(self) -> bytes:
        return sealed(_INDEX.pack(INDEX_MARKER, len(self._offsets) // 8) + self._offsets)


def unpack_index(data: bytes) -> tuple[int, ...]:
    """Return the offsets of an index that `IndexBuilder.pack` made. Raises FormatError."""
    if len(data) < _INDEX.size + CRC_BYTES or not data.startswith(INDEX_MARKER):
        raise FormatError("the index is damaged")
    _, count = _INDEX.unpack_from(data)
    if len(data) != index_bytes(count) or not is_sealed(data):
        raise FormatError("the index is damaged: its checksum does not match")
    return struct.unpack_from(f"<{count}Q", data, _INDEX.size)


def index_bytes(count: int) -> int:
    """Return the size of an index of `count` offsets."""
    return _INDEX.size + 8 * count + CRC_BYTES


@dataclasses.dataclass(frozen=True)
class Trailer:
    """The last 96 bytes of a file: a copy of its header, with the number of samples."""

    header: Header
    index_offset: int
    n_chunks: int
    digest: int  # CRC of the CRCs of all chunks

    def pack(self) -> bytes:
        end = _TRAILER.pack(self.index_offset, self.n_chunks, self.digest)
        return sealed(TRAILER_MARKER + self.header.pack() + end) + END_MAGIC

    @classmethod
    def unpack(cls, data: bytes) -> Trailer:
        """Inverse of `pack`. Raises FormatError."""
        if len(data) != TRAILER_BYTES or not data.startswith(TRAILER_MARKER):
            raise FormatError("the trailer is damaged")
        if not data.endswith(END_MAGIC) or not is_sealed(data[: -len(END_MAGIC)]):
            raise FormatError("the trailer is damaged: its checksum does not match")
        header = Header.unpack(data[MARKER_BYTES:])
        if header.n_samples is None:
            raise FormatError("the trailer does not say how many samples there are")
        return cls(header, *_TRAILER.unpack_from(data, MARKER_BYTES + HEADER_BYTES))


def sealed(data: bytes) -> bytes:
    """Return `data` with its CRC appended."""
    return data + _CRC.pack(crc32c(data))


def is_sealed(data: bytes) -> bool:
    """Tell whether `data` ends with the CRC of the bytes before."""
    return len(data) >= CRC_BYTES and sealed(data[:-CRC_BYTES]) == data


def _not_a_file(data: bytes) -> str:
    """Say why `data`, the first bytes of a file, do not begin a .nac file."""
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
