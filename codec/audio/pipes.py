"""WAV and raw samples through pipes: read while they arrive, written before their end is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np

from codec.audio import riff
from codec.audio.arrays import Audio, as_channels, as_int16, check_sample_rate
from codec.audio.formats import MAX_WAV_BYTES
from codec.errors import AudioError
from codec.model.limits import MAX_CHANNELS

READ_BYTES = 1 << 18
MAX_HEADER_BYTES = 1 << 26  # of small chunks that are kept, in case they must be handed back
_SMALL_CHUNK = 1 << 16


class NotStreamableError(AudioError):
    """Not a WAV of plain samples, but it may be other audio; `consumed` bytes were read."""

    def __init__(self, consumed: bytes) -> None:
        super().__init__("only WAV and raw samples can be coded while they arrive")
        self.consumed = consumed


class SampleStream:
    """Samples from a pipe, float32 [channels, samples] a block, as they arrive.

    kind: a NumPy dtype of the little-endian samples, or "3" for those of 24 bits. n_bytes: how many
    at most, None if they end with the pipe; what follows them is read and left out. Raises
    AudioError, also in the iteration.

    ahead: bytes of the samples that were read with the header. letters: as of `riff.tags_behind`.
    wide: whether it is a Wave64.
    tags, warnings, strict: as of `AudioReader`.
    """

    def __init__(
        self,
        file: BinaryIO,
        sample_rate: int,
        channels: int,
        kind: str,
        n_bytes: int | None,
        *,
        ahead: bytes = b"",
        letters: int = 0,
        wide: bool = False,
    ) -> None:
        check_sample_rate(sample_rate)
        if not 1 <= channels <= MAX_CHANNELS:
            raise AudioError(f"{channels} channels; 1 to {MAX_CHANNELS} can be coded")
        self._file, self._kind, self._left = file, kind, n_bytes
        self._ahead, self._pad, self._letters = ahead, (n_bytes or 0) % 2, letters
        self._wide = wide
        self.sample_rate, self.channels = sample_rate, channels
        self.n_samples = 0  # read so far, of each channel
        self.tags: dict[str, str] = {}
        self.warnings: list[str] = []
        self.strict = False

    def __iter__(self) -> Iterator[Audio]:
        frame = self.channels * (3 if self._kind == "3" else np.dtype(self._kind).itemsize)
        rest = self._ahead
        while data := self._some():
            data = rest + data
            whole = len(data) // frame * frame
            data, rest = data[:whole], data[whole:]
            if data:
                self.n_samples += whole // frame
                yield as_channels(riff.floats(data, self._kind).reshape(-1, self.channels).T)
        if self._left and self.n_samples:
            claimed = self.n_samples + (self._left + len(rest)) // frame
            if claimed > self.n_samples:
                self.warnings.append(f"cut off: {self.n_samples} of {claimed} samples are there")
                if self.strict:
                    raise AudioError(self.warnings[0])
        elif self._left == 0:
            try:
                if self._wide:
                    riff.check_behind_w64(self._take)
                else:
                    self._skip(self._pad)
                    riff.tags_behind(self._take, self._skip, letters=self._letters)
            except riff.JoinedError as error:
                self.warnings.append(str(error))
                if self.strict:
                    raise
            # Whoever writes what follows must not find the pipe closed.
            while self._file.read(READ_BYTES):
                pass

    def _take(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (part := self._file.read(size - len(data))):
            data += part
        return data

    def _skip(self, size: int) -> None:
        while size and (part := self._file.read(min(size, READ_BYTES))):
            size -= len(part)

    def _some(self) -> bytes:
        size = READ_BYTES if self._left is None else min(READ_BYTES, self._left)
        # read1 returns what has arrived, and does not wait for the whole size.
        data: bytes = self._file.read1(size)  # type: ignore[attr-defined]
        if self._left is not None:
            self._left -= len(data)
        return data


def open_wav(file: BinaryIO) -> SampleStream:
    """Read the header of the WAV at the start of `file`; return its samples.

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
        return data

    def skip(size: int) -> None:
        if size <= _SMALL_CHUNK:
            take(size)
            return
        # What is handed back has the chunk too, but with nothing in it.
        consumed[-4:] = (size % 2).to_bytes(4, "little")
        consumed.extend(bytes(size % 2))
        while size and (part := file.read(min(size, READ_BYTES))):
            size -= len(part)

    try:
        wave = riff.walk(take, skip)
    except AudioError:
        if len(consumed) > MAX_HEADER_BYTES // 2:
            raise
        raise NotStreamableError(bytes(consumed)) from None
    if not wave.kind:
        raise NotStreamableError(bytes(consumed))
    stream = SampleStream(
        file,
        wave.sample_rate,
        wave.channels,
        wave.kind,
        wave.size,
        ahead=wave.ahead,
        letters=wave.letters,
        wide=wave.wide,
    )
    stream.tags = wave.tags
    if wave.channels > 2 and wave.layout:
        stream.tags["channels"] = wave.layout
    return stream


class SampleSink:
    """Writes 16-bit samples to a pipe, block by block, after a WAV header unless `raw`.

    n_samples: None if it is not known; a WAV then claims to be as long as can be. tags: those that
    a WAV can hold are in its header.
    """

    def __init__(
        self,
        file: BinaryIO,
        sample_rate: int,
        channels: int,
        n_samples: int | None,
        raw: bool,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._file = file
        if raw:
            return
        size = 2 * channels * n_samples if n_samples is not None else riff.UNKNOWN
        rate, block = sample_rate, 2 * channels
        head = (
            riff.CHUNK.pack(b"fmt ", riff.FORMAT.size)
            + riff.FORMAT.pack(riff.PCM, channels, rate, rate * block, block, 16)
            + riff.info(tags or {})
        )
        whole = len(b"WAVE") + len(head) + riff.CHUNK.size + size
        known = size <= MAX_WAV_BYTES and whole < riff.UNKNOWN
        file.write(
            riff.RIFF.pack(b"RIFF", whole if known else riff.UNKNOWN, b"WAVE")
            + head
            + riff.CHUNK.pack(b"data", size if known else riff.UNKNOWN)
        )
        file.flush()

    def write(self, audio: Audio) -> None:
        """Append `audio` float32 [channels, samples], clipped at full scale."""
        self._file.write(np.ascontiguousarray(as_int16(audio).T, "<i2").tobytes())
        self._file.flush()
