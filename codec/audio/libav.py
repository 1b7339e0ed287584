"""Decodes with FFmpeg, through PyAV, what libsndfile cannot read."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from codec.audio.arrays import narrowed
from codec.audio.sniff import FFMPEG_NAMES
from codec.errors import AudioError, MissingPackageError

# Bare frames: FFmpeg guesses the duration from the first frame.
_WITHOUT_LENGTH = frozenset(("aac", "ac3", "eac3", "amr", "dts", "latm"))
_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
HINT = "pip install 'codec[av]'"


def available() -> bool:
    """Tell whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


class AvFile:
    """The first stream of audio in a file of `kind` (see `sniff.kind_of`).

    Channels come in the order of WAVE. Raises AudioError, also when it is read, and
    MissingPackageError without PyAV.

    tagged: whether tags of no part of the format end the file, which FFmpeg may take for damage.
    """

    def __init__(self, file: BinaryIO, kind: str, *, tagged: bool = False) -> None:
        try:
            import av
        except ImportError:
            raise MissingPackageError(f"reading {kind} needs PyAV: {HINT}") from None
        self._av = av
        av.logging.set_level(av.logging.PANIC)
        try:
            self._container: Any = av.open(
                file, format=FFMPEG_NAMES[kind], metadata_errors="replace"
            )
        except (av.error.FFmpegError, ValueError) as error:
            raise AudioError(f"cannot read audio: {kind}: {self._said(error)}") from None
        stream = self._container.streams.best("audio")
        if stream is None:
            raise AudioError(f"cannot read audio: {kind}: it has no stream of audio")
        self._stream, self._tagged = stream, tagged
        self._blocks = self._decoded()
        self.warnings: list[str] = []
        self.first = next(self._blocks, None)
        context = stream.codec_context
        self.channels = self.first.shape[1] if self.first is not None else int(stream.channels)
        self.sample_rate = int(context.sample_rate or 0)
        self.layout = " ".join(channel.name for channel in stream.layout.channels)
        self.claimed = 0
        if kind not in _WITHOUT_LENGTH:
            own = stream.duration and stream.time_base and stream.duration * stream.time_base
            length = own or (self._container.duration or 0) / av.time_base
            self.claimed = round(float(length) * self.sample_rate)
        said = {key.lower(): value for key, value in self._container.metadata.items()}
        said.setdefault("tracknumber", said.get("track", ""))
        self.tags = {str(key): str(value) for key, value in said.items() if value}
        self.decoder = f"FFmpeg {av.ffmpeg_version_info} (PyAV {av.__version__})"

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        """Give all audio in blocks [samples, channels]."""
        if self.first is not None:
            yield self.first
            yield from self._blocks

    def _decoded(self) -> Iterator[npt.NDArray[np.float32]]:
        av, bad, form = self._av, 0, None
        count, broken = 0, False
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                broken, packet = True, None
            try:
                frames = self._stream.codec_context.decode(packet)
            except av.error.EOFError:
                break
            except av.error.FFmpegError:
                bad, frames = bad + 1, []
            for frame in frames:
                channels = len(frame.layout.channels)
                form = form or (channels, frame.sample_rate)
                if form != (channels, frame.sample_rate):
                    raise AudioError("the number of channels or the rate changes on the way")
                count += frame.samples
                yield _floats(frame, channels)
            if packet is None or (packet.size == 0 and packet.dts is None):
                break
        whole = self._tagged and 0 < self.claimed <= count
        if broken and not whole:
            self.warnings.append("damaged: it cannot be read to its end")
        if bad:
            self.warnings.append(f"damaged: {bad} packets could not be decoded")

    def _said(self, error: Exception) -> str:
        text = getattr(error, "strerror", None) or str(error)
        return " ".join(text.split()).lower()

    def close(self) -> None:
        self._container.close()


def _floats(frame: Any, channels: int) -> npt.NDArray[np.float32]:
    """The samples [samples, channels] of a frame.

    Its planes are counted here: PyAV's `to_ndarray` finds one too many where there are eight, and
    reads memory that is none of its.
    """
    dtype = _DTYPES[frame.format.packed.name]
    planes, count = frame.planes, frame.samples
    if frame.format.is_planar:
        array = np.stack([np.frombuffer(planes[k], dtype, count) for k in range(channels)], axis=1)
    else:
        array = np.frombuffer(planes[0], dtype, count * channels).reshape(-1, channels)
    if array.dtype.kind == "f":
        return narrowed(array)
    if array.dtype == np.uint8:
        return (array.astype(np.float32) - np.float32(128)) / np.float32(128)
    return array.astype(np.float32) / np.float32(1 << 8 * array.dtype.itemsize - 1)
