"""WAV and raw samples through pipes: read while they arrive, written before their end is known."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from codec.audio.arrays import Audio, as_channels, as_int16, check_sample_rate
from codec.audio.formats import MAX_WAV_BYTES
from codec.errors import AudioError
from codec.model.limits import MAX_CHANNELS

READ_BYTES = 1 << 18
MAX_HEADER_BYTES = 1 << 20

# A size that a recorder writes for want of a better one: arecord and sox near 2^31, ffmpeg 2^32.
_ENDLESS = 0x7FFF_0000
_UNKNOWN = 0xFFFF_FFFF
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_RIFF = struct.Struct("<4s I 4s")
_CHUNK = struct.Struct("<4s I")
_SIZES = struct.Struct("<Q Q")  # of the whole and of the data
_FORMAT = struct.Struct("<H H I I H H")


class NotStreamableError(AudioError):
    """Not a WAV of plain samples, but perhaps audio all the same; `consumed` was read of it."""

    def __init__(self, consumed: bytes) -> None:
        super().__init__("only WAV and raw samples can be coded while they arrive")
        self.consumed = consumed


class SampleStream:
    """Samples from a pipe, float32 [channels, samples] a block, as they arrive.

    kind: a NumPy dtype of the little-endian samples, or "3" for those of 24 bits. n_bytes: how many
    at most, None if they end with the pipe. Raises AudioError, also in the iteration.
    """

    def __init__(
        self, file: BinaryIO, sample_rate: int, channels: int, kind: str, n_bytes: int | None
    ) -> None:
        check_sample_rate(sample_rate)
        if not 1 <= channels <= MAX_CHANNELS:
            raise AudioError(f"{channels} channels; 1 to {MAX_CHANNELS} can be coded")
        self._file, self._kind, self._left = file, kind, n_bytes
        self.sample_rate, self.channels = sample_rate, channels
        self.n_samples = 0  # read so far, of each channel

    def __iter__(self) -> Iterator[Audio]:
        frame = self.channels * (3 if self._kind == "3" else np.dtype(self._kind).itemsize)
        rest = b""
        while data := self._some():
            data = rest + data
            whole = len(data) // frame * frame
            data, rest = data[:whole], data[whole:]
            if data:
                self.n_samples += whole // frame
                yield as_channels(_floats(data, self._kind).reshape(-1, self.channels).T)

    def _some(self) -> bytes:
        size = READ_BYTES if self._left is None else min(READ_BYTES, self._left)
        # read1: what is there, not as much as was asked for.
        data: bytes = self._file.read1(size)  # type: ignore[attr-defined]
        if self._left is not None:
            self._left -= len(data)
        return data


def _floats(data: bytes, kind: str) -> npt.NDArray[np.float32]:
    """As libsndfile has them: integers scaled to full scale ±1."""
    if kind == "3":
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0].astype(np.float32) / np.float32(1 << 31)
    samples = np.frombuffer(data, kind)
    if kind == "u1":
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    return samples.astype(np.float32) / np.float32(1 << 8 * samples.dtype.itemsize - 1)


def open_wav(file: BinaryIO) -> SampleStream:
    """The samples of the WAV that `file` starts with, its header read.

    Raises NotStreamableError, AudioError.
    """
    consumed = bytearray()

    def take(size: int) -> bytes:
        if len(consumed) + size > MAX_HEADER_BYTES:
            raise AudioError(f"a WAV header of more than {MAX_HEADER_BYTES} bytes")
        data = b""
        while len(data) < size and (part := file.read(size - len(data))):
            data += part
        consumed.extend(data)
        if len(data) < size:
            raise NotStreamableError(bytes(consumed))
        return data

    riff, _, wave = _RIFF.unpack(take(_RIFF.size))
    if riff not in (b"RIFF", b"RF64") or wave != b"WAVE":
        raise NotStreamableError(bytes(consumed))
    fields: tuple[int, ...] | None = None
    kind = ""
    long_size = 0  # of an RF64's data, whose 32-bit size is all ones
    while True:
        name, size = _CHUNK.unpack(take(_CHUNK.size))
        if name == b"data":
            break
        body = take(size + size % 2)
        if name == b"ds64" and size >= _SIZES.size:
            long_size = _SIZES.unpack_from(body)[1]
        if name == b"fmt " and size >= _FORMAT.size:
            fields = _FORMAT.unpack_from(body)
            tag = fields[0]
            if tag == _EXTENSIBLE and size >= 26:
                tag = int.from_bytes(body[24:26], "little")
            kinds = {
                (_PCM, 8): "u1", (_PCM, 16): "<i2", (_PCM, 24): "3", (_PCM, 32): "<i4",
                (_FLOAT, 32): "<f4", (_FLOAT, 64): "<f8",
            }  # fmt: skip
            kind = kinds.get((tag, fields[5]), "")
    if not kind or not fields or fields[4] != fields[1] * fields[5] // 8:
        raise NotStreamableError(bytes(consumed))
    if size == _UNKNOWN and 0 < long_size < _ENDLESS << 32:
        size = long_size
    elif size >= _ENDLESS:
        size = 0
    return SampleStream(file, fields[2], fields[1], kind, size or None)


class SampleSink:
    """Writes 16-bit samples to a pipe, block by block, after a WAV header unless `raw`.

    n_samples: None if it is not known; a WAV then claims to be as long as can be.
    """

    def __init__(
        self, file: BinaryIO, sample_rate: int, channels: int, n_samples: int | None, raw: bool
    ) -> None:
        self._file = file
        if raw:
            return
        size = 2 * channels * n_samples if n_samples is not None else _UNKNOWN
        known = size <= MAX_WAV_BYTES
        rate, block = sample_rate, 2 * channels
        file.write(
            _RIFF.pack(b"RIFF", size + 36 if known else _UNKNOWN, b"WAVE")
            + _CHUNK.pack(b"fmt ", _FORMAT.size)
            + _FORMAT.pack(_PCM, channels, rate, rate * block, block, 16)
            + _CHUNK.pack(b"data", size if known else _UNKNOWN)
        )
        file.flush()

    def write(self, audio: Audio) -> None:
        """Append `audio` float32 [channels, samples], clipped at full scale."""
        self._file.write(np.ascontiguousarray(as_int16(audio).T, "<i2").tobytes())
        self._file.flush()
