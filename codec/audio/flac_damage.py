"""Reads a FLAC past what cannot be decoded: what is lost is silent, so that the time stays."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from codec.audio import flac
from codec.audio.content import Bytes, Part
from codec.audio.libsndfile import SndFile, UndecodableError
from codec.errors import AudioError

Block = npt.NDArray[np.float32]  # [samples, channels]

_MOST_SILENCE = 60  # seconds in a place: the number of a frame may be wrong


class FlacStream(SndFile):
    """A FLAC stream that goes on behind damage, at the next frame whose checksums are right.

    native: gives the stream as a file, and its place there; it is asked where something cannot be
    decoded. damaged: the first sample and the number of samples of each place that is silent. cut:
    whether the stream ends before its end, because nothing more of it can be decoded.
    """

    def __init__(
        self,
        data: Bytes,
        parts: Sequence[Part],
        kind: str,
        native: Callable[[], tuple[Bytes, flac.Stream]],
    ) -> None:
        super().__init__(data, parts, kind)
        self._native = functools.cache(native)  # FLAC in Ogg is taken out of it once
        self._next = 0  # the byte before which no frame is tried again
        self._given = self._decoded = self._silent = 0  # samples; the last: still to be given
        self._problem: UndecodableError | None = None

    def read(self, samples: int) -> Block:
        """Read the next samples [samples, channels], fewer at the end.

        Raises AudioError where nothing of the stream can be decoded, and behind its last sample
        where other bytes follow.
        """
        block = np.zeros((0, self.channels), np.float32)
        while not len(block) and self._problem is None:
            if self._silent:
                block = np.zeros((min(samples, self._silent), self.channels), np.float32)
                self._silent -= len(block)
            else:
                try:
                    block = super().read(samples)
                    self._decoded += len(block)
                    if not len(block):
                        break
                except UndecodableError as error:
                    block = self._behind(error)
            self._given += len(block)
        if not len(block):
            self._end()
        return block

    def _end(self) -> None:
        """Raise the error that is not to be passed over, if that is why nothing more comes."""
        whole = self._given == self.claimed
        if self._problem and (not self._decoded or whole):
            raise self._problem
        if self._given and not self._decoded:
            raise AudioError("cannot read audio: FLAC: no frame can be decoded")
        self.cut = self._problem is not None

    def _behind(self, error: UndecodableError) -> Block:
        """Go on behind what cannot be decoded; the samples before it."""
        data, stream = self._native()
        block, reached = error.block, self._given + len(error.block)
        if not self._given and self._found(data, stream, 0):
            # libFLAC left a damaged first frame out, and reports it behind those that follow.
            block, reached = block[:0], 0
        self._decoded += len(block)
        at = None if 0 < reached == self.claimed else self._found(data, stream, reached)
        most = reached + _MOST_SILENCE * self.sample_rate
        if at is None or at > most or 0 < self.claimed <= at:
            self._problem = error
            return block
        self._note(*((reached, at) if at > reached else _silent_part(block, reached, stream.block)))
        self._silent = at - reached
        self.close()
        # What has the right checksums and still cannot be decoded is not tried again.
        frame, self._next = self._next, self._next + 1
        self._file = SndFile(data, stream.endless_from(data, frame), "flac")._file
        return block

    def _found(self, data: Bytes, stream: flac.Stream, sample: int) -> int | None:
        """Find the first sample, at `sample` or later, of an intact frame that was not tried."""
        found = flac.intact_frame(data, stream, sample, self._next)
        if found is None:
            return None
        self._next, place = found
        return place

    def _note(self, first: int, last: int) -> None:
        """Note a damaged place, as one with the place before that it touches."""
        if self.damaged and first <= sum(self.damaged[-1]):
            first = self.damaged.pop()[0]
        self.damaged.append((first, last - first))


def _silent_part(block: Block, end: int, frame: int) -> tuple[int, int]:
    """Find the frames that libFLAC made silent, some frames before it reports a wrong checksum.

    block: samples that end before sample `end` of the stream. frame: samples of a frame. Returns
    the first sample of the first stretch of over half a frame of zeros, in all channels, and the
    end of the last one; all of the block if it has none.
    """
    loud = np.flatnonzero(block.any(axis=1))
    ends = np.concatenate([[-1], loud, [len(block)]])
    long = np.flatnonzero(np.diff(ends) > frame // 2)
    begin = end - len(block)
    if not len(long):
        return begin, end
    return begin + int(ends[long[0]]) + 1, begin + int(ends[long[-1] + 1])
