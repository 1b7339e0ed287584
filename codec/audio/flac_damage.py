"""Goes on in a FLAC behind what cannot be decoded, at the next frame whose checksums are right."""

from __future__ import annotations

from codec.audio import flac
from codec.audio.content import Bytes
from codec.audio.libsndfile import SndFile


class Resumption:
    """Frames of one stream behind damage, each found once, in their order.

    block: samples of its largest frame.
    """

    def __init__(self, data: Bytes, stream: flac.Stream) -> None:
        self._data, self._stream, self._next = data, stream, stream.start
        self.block = flac.largest_block(data, stream)

    def find(self, sample: int) -> int | None:
        """Find the first sample, at `sample` or later, of an intact frame. None if none follows."""
        found = flac.intact_frame(self._data, self._stream, sample, self._next)
        if found is None:
            return None
        self._next, place = found
        return place

    def open(self) -> SndFile:
        """Open the stream from the frame on that was found.

        What has the right checksums and still cannot be decoded is not found again.
        """
        frame, self._next = self._next, self._next + 1
        return SndFile(self._data, self._stream.endless_from(self._data, frame), "flac")
