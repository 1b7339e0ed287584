"""WAV and its relatives: RIFF, RF64, BW64 and Sony's Wave64, read chunk by chunk.

Sources: EBU Tech 3306 (RF64), ITU-R BS.2088 (BW64), Sony "Wave64".
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from codec.audio.arrays import narrowed
from codec.audio.channels import speakers
from codec.audio.content import Bytes
from codec.audio.mpeg import after_id3
from codec.errors import AudioError

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
MPEG = (0x50, 0x55)  # layers I and II, and III
RIFF = struct.Struct("<4s I 4s")
CHUNK = struct.Struct("<4s I")
FORMAT = struct.Struct("<H H I I H H")
UNKNOWN = 0xFFFF_FFFF
MAGICS = (b"RIFF", b"RF64", b"BW64")
W64_MAGIC = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_W64_GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # of each name but the first

# Sizes that recorders write when they know none: arecord and sox near 2^31, ffmpeg near 2^32.
_UNKNOWN_SIZES = (range(0x7FFF_0000, 0x8001_0000), range(0xFFFF_0000, 1 << 32))
_MOST = 0x7FFF_0000  # bytes of samples that every decoder reads behind a WAV header
_SIZES = struct.Struct("<Q Q")  # of the whole and of the data
_MOST_KEPT = 1 << 20  # bytes of a chunk whose content is read
_KINDS = {
    (PCM, 8): "u1", (PCM, 16): "<i2", (PCM, 24): "3", (PCM, 32): "<i4",
    (FLOAT, 16): "<f2", (FLOAT, 32): "<f4", (FLOAT, 64): "<f8",
}  # fmt: skip
_BEHIND = frozenset((
    b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"smpl", b"fact", b"iXML", b"_PMX", b"PEAK",
    b"JUNK", b"junk", b"afsp", b"axml", b"chna", b"inst", b"acid",
))  # fmt: skip
_KNOWN = _BEHIND | {b"fmt ", b"data", b"ds64"}
_INFO = {
    b"INAM": "title", b"IART": "artist", b"IPRD": "album", b"ICRD": "date", b"ITRK": "tracknumber",
    b"IGNR": "genre", b"ICMT": "comment", b"ICOP": "copyright", b"IPRT": "tracknumber",
}  # fmt: skip
_TRACK_OF_OTHERS = b"IPRT"  # what some programs write for ITRK

_MORE = "more follows than the WAV claims, which was not read"

Take = Callable[[int], bytes]  # the next bytes, fewer at the end
Skip = Callable[[int], None]


class EndOfHeader(AudioError):
    """The WAV ends before its samples."""


class JoinedError(AudioError):
    """More samples follow behind those of the WAV in the same file."""


@dataclasses.dataclass
class Wave:
    """The head of a WAV. size: bytes of samples that it claims; None if it states none.
    stated: what its 32 bits say of that. ahead: bytes of the samples that were read with it."""

    format: bytes = b""
    size: int | None = None
    stated: int = UNKNOWN
    ahead: bytes = b""
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    wide: bool = False  # whether it is a Wave64, whose chunks have other heads

    @property
    def letters(self) -> int:
        """Letters of a chunk's name that must follow the samples, if anything does: 4, or 3 where
        the first may be taken for a pad byte that is missing; 0 if chunks have other heads."""
        return 0 if self.wide or self.size is None else 4 - self.size % 2

    @property
    def fields(self) -> tuple[int, ...]:
        """Coding, channels, rate, bytes a second, bytes a frame, bits a sample."""
        return FORMAT.unpack_from(self.format)

    @property
    def channels(self) -> int:
        return self.fields[1]

    @property
    def sample_rate(self) -> int:
        return self.fields[2]

    @property
    def frame_bytes(self) -> int:
        return self.fields[4]

    @property
    def kind(self) -> str:
        """A NumPy dtype of the samples, "3" for those of 24 bits, "" if they are not plain."""
        _, channels, _, _, align, bits = self.fields
        if self.coding == PCM and self.fields[0] == EXTENSIBLE and align % max(channels, 1) == 0:
            bits = max(bits, 8 * align // max(channels, 1))  # fewer lie at the top of as many
        return _KINDS.get((self.coding, bits), "") if align == channels * bits // 8 else ""

    @property
    def coding(self) -> int:
        """The number of the format of its samples."""
        tag = self.fields[0]
        if tag == EXTENSIBLE and len(self.format) >= 26:
            tag = int.from_bytes(self.format[24:26], "little")
        return tag

    @property
    def layout(self) -> str:
        """The speakers that the channels are for, "" if it does not say."""
        if self.fields[0] != EXTENSIBLE or len(self.format) < 24:
            return ""
        return speakers(int.from_bytes(self.format[20:24], "little"), self.channels)


def walk(take: Take, skip: Skip) -> Wave:
    """Read a WAV up to its first sample.

    A chunk of an odd size without its pad byte is told by the letter that is in its place. Raises
    AudioError on what is no WAV, EndOfHeader if it ends before.
    """

    def exactly(size: int) -> bytes:
        data = take(size)
        if len(data) < size:
            raise EndOfHeader("a WAV without samples: it has no data chunk")
        return data

    magic = exactly(RIFF.size)
    if magic == W64_MAGIC[: RIFF.size]:
        return _walk_w64(exactly, skip)
    name, _, form = RIFF.unpack(magic)
    if name not in MAGICS or form != b"WAVE":
        raise AudioError("not a WAV")
    wave, long_size, ahead = Wave(), 0, b""
    while True:
        name, size = CHUNK.unpack(ahead + exactly(CHUNK.size - len(ahead)))
        ahead = b""
        if name == b"data":
            break
        if name in (b"fmt ", b"ds64", b"LIST") and size <= _MOST_KEPT:
            body = exactly(size)
            if name == b"fmt " and size >= FORMAT.size:
                wave.format = body
            elif name == b"ds64" and size >= _SIZES.size:
                long_size = _SIZES.unpack_from(body)[1]
            elif name == b"LIST":
                wave.tags.update(_info(body))
        else:
            skip(size)
        if size % 2:
            pad = exactly(1)
            if pad.isalpha():
                # The first letter of the next name, unless a known name follows.
                ahead = pad + exactly(4)
                ahead = ahead[1:] if ahead[1:] in _KNOWN else ahead
    _check(wave)
    wave.stated = size
    if size == UNKNOWN and 0 < long_size < _MOST << 32:
        wave.size = long_size
    elif size and not any(size in sizes for sizes in _UNKNOWN_SIZES):
        wave.size = size
    elif size == 0:
        # The size was never filled in, unless another chunk follows.
        wave.ahead = take(4)
        wave.size = 0 if wave.ahead in _BEHIND else None
    return wave


def _walk_w64(exactly: Take, skip: Skip) -> Wave:
    exactly(40 - RIFF.size)
    wave = Wave(wide=True)
    while True:
        head = exactly(24)
        name, size = head[:4], int.from_bytes(head[16:], "little") - 24
        if name == b"data":
            break
        if size < 0:
            raise AudioError("a Wave64 whose chunks have impossible sizes")
        padded = -(-size // 8) * 8
        if name == b"fmt " and FORMAT.size <= size <= _MOST_KEPT:
            wave.format = exactly(padded)[:size]
        else:
            skip(padded)
    _check(wave)
    if 0 < size < _MOST << 32:
        wave.size = size
    return wave


def _check(wave: Wave) -> None:
    if not wave.format:
        raise AudioError("a WAV that does not say its format before its samples")
    if not wave.channels or not wave.frame_bytes:
        raise AudioError("a WAV of no channels")


def info(tags: Mapping[str, str]) -> bytes:
    """Return the chunk that holds `tags`, to stand before the samples; b"" if it can hold none."""
    body = b"INFO"
    for name, key in _INFO.items():
        if key in tags and name != _TRACK_OF_OTHERS:
            text = tags[key].encode() + b"\0"
            text += bytes(len(text) % 2)
            body += CHUNK.pack(name, len(text)) + text
    return CHUNK.pack(b"LIST", len(body)) + body if len(body) > 4 else b""


def _info(body: bytes) -> dict[str, str]:
    tags: dict[str, str] = {}
    if body[:4] != b"INFO":
        return tags
    at = 4
    while at + CHUNK.size <= len(body):
        name, size = CHUNK.unpack_from(body, at)
        at += CHUNK.size
        if name in _INFO and at + size <= len(body):
            text = _text(body[at : at + size].split(b"\0")[0])
            if text:
                tags[_INFO[name]] = text
        at += size + size % 2
    return tags


def _text(data: bytes) -> str:
    """Decode what a writer may have written as UTF-8, or as Windows did before."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def check_behind_w64(take: Take) -> None:
    """Raise JoinedError if another Wave64 follows the samples of one, aligned to 8 bytes or not."""
    if W64_MAGIC in take(7 + len(W64_MAGIC)):
        raise JoinedError("another WAV follows, which was not read")


def tags_behind(take: Take, skip: Skip, *, letters: int = 0) -> dict[str, str]:
    """Read the tags of the chunks from here on. Raises JoinedError if more samples follow.

    letters: as of `Wave`. What has other names may be samples: those beyond 4 GB, or of a recorder
        that was killed. Zeros are not: they are left of a file allocated ahead.
    """
    tags: dict[str, str] = {}
    n_zeros = 0
    while len(head := take(CHUNK.size)) == CHUNK.size:
        if not any(head):
            n_zeros += len(head)
            if n_zeros < _MOST_KEPT:
                continue
            # Gigabytes of zeros may follow: read on in large steps, for samples alone.
            while letters and (rest := take(_MOST_KEPT)):
                if rest != bytes(len(rest)):
                    raise JoinedError(_MORE)
            break
        name, size = CHUNK.unpack(head)
        if not all(32 <= letter < 127 for letter in name[:letters]):
            raise JoinedError(_MORE)
        letters = 0
        if name in MAGICS:
            raise JoinedError("another WAV follows, which was not read")
        if name == b"data" and size:
            raise JoinedError("another chunk of samples follows, which was not read")
        if name == b"LIST" and size <= _MOST_KEPT:
            tags.update(_info(take(size)))
        else:
            skip(size)
        skip(size % 2)
    return tags


class Walker:
    """Walks a WAV that is complete in memory. at: where its samples begin. Raises AudioError."""

    def __init__(self, data: Bytes) -> None:
        self._data, self._next = data, after_id3(data)
        self.head = walk(self._take, self._skip)
        self.at = self._next - len(self.head.ahead)
        self.head.size = self._size()

    def _size(self) -> int | None:
        """Return the size of the samples, with the bits beyond 32 that the file's length shows.

        Whoever writes more than 4 GB may state the size modulo 2^32. It is that of the samples if
        the file ends there, or a known chunk follows.
        """
        stated = self.head.stated
        if stated != UNKNOWN:
            there = len(self._data) - self.at
            for size in range(stated or 1 << 32, there + 1, 1 << 32):
                behind = bytes(self._data[self.at + size : self.at + size + 5])
                if len(behind) <= size % 2 or {behind[:4], behind[size % 2 :][:4]} & _BEHIND:
                    return size
        return self.head.size

    def tags_behind(self) -> dict[str, str]:
        """Read the tags in chunks behind the samples. Raises JoinedError if more samples follow."""
        if self.head.size is None:
            return {}
        self._next = self.at + self.head.size
        if self.head.wide:
            check_behind_w64(self._take)
            return {}
        self._next += self.head.size % 2
        return tags_behind(self._take, self._skip, letters=self.head.letters)

    def _take(self, size: int) -> bytes:
        data = bytes(self._data[self._next : self._next + size])
        self._next += len(data)
        return data

    def _skip(self, size: int) -> None:
        self._next = min(len(self._data), self._next + size)


def plain_header(wave: Wave, n_bytes: int) -> bytes:
    """Make a WAV header of `wave`'s format and nothing else, for a decoder.

    It is that of a Wave64 if there are more samples than a WAV can state. Raises AudioError on
    so many in blocks, as of ADPCM, which libsndfile counts in 32 bits.
    """
    if n_bytes > _MOST:
        if 8 * wave.frame_bytes != wave.channels * wave.fields[5]:
            raise AudioError("cannot read audio: WAV: more than 2 GB of a coding in blocks")
        return _w64_header(wave.format, n_bytes)
    format_ = wave.format + b"\0" * (len(wave.format) % 2)
    samples = n_bytes // wave.frame_bytes
    if len(wave.format) >= 20 and wave.fields[0] != EXTENSIBLE:  # ADPCM: samples of a block
        samples *= max(1, int.from_bytes(wave.format[18:20], "little"))
    fact = CHUNK.pack(b"fact", 4) + struct.pack("<I", min(samples, UNKNOWN))
    body = CHUNK.pack(b"fmt ", len(wave.format)) + format_ + fact + CHUNK.pack(b"data", n_bytes)
    return RIFF.pack(b"RIFF", 4 + len(body) + n_bytes, b"WAVE") + body


def _w64_header(format_: bytes, n_bytes: int) -> bytes:
    def head(name: bytes, size: int) -> bytes:
        return name + _W64_GUID + (24 + size).to_bytes(8, "little")

    body = head(b"fmt ", len(format_)) + format_ + bytes(-len(format_) % 8)
    body = b"wave" + _W64_GUID + body + head(b"data", n_bytes)
    return W64_MAGIC + (24 + len(body) + n_bytes).to_bytes(8, "little") + body


def floats(data: bytes, kind: str) -> npt.NDArray[np.float32]:
    """Convert samples of `kind` as libsndfile does: integers scaled to full scale ±1.

    Raises AudioError on floats beyond the range of float32.
    """
    if kind == "3":
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0].astype(np.float32) / np.float32(1 << 31)
    samples = np.frombuffer(data, kind)
    if kind == "u1":
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    if samples.dtype.kind == "f":
        return narrowed(samples)
    return samples.astype(np.float32) / np.float32(1 << 8 * samples.dtype.itemsize - 1)
