"""FLAC: streams that follow each other. Their totals are treated as claims.

Source: RFC 9639, section 8.2 (STREAMINFO).
"""

from __future__ import annotations

import dataclasses

from codec.audio.content import Bytes, Part
from codec.audio.mpeg import after_id3, before_tags

_START = b"fLaC"
_INFO = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")  # and a STREAMINFO of 34 bytes
_TOTAL = 8 + 13  # offset of the total: 36 bits, the lower half of this byte and 4 more bytes


@dataclasses.dataclass(frozen=True)
class Stream:
    """One stream. claimed: samples of each channel that its header states, 0 if it states none."""

    start: int
    stop: int
    claimed: int
    flags: int  # the upper half of the byte in which the total begins

    @property
    def whole(self) -> list[Part]:
        """Return the stream unchanged."""
        return [(self.start, self.stop)]

    @property
    def endless(self) -> list[Part]:
        """Return the stream without its total, so that a decoder reads to the end."""
        at = self.start + _TOTAL
        return [(self.start, at), bytes([self.flags, 0, 0, 0, 0]), (at + 5, self.stop)]


def streams(data: Bytes) -> list[Stream]:
    """Find the streams of a FLAC file, or of several that were joined, without tags around them."""
    start, end = after_id3(data), before_tags(data)
    starts = [start]
    for magic in _INFO:
        at = start
        while (at := data.find(magic, at + 1, end)) >= 0:
            if _plausible(data[at + 8 : at + 42]):
                starts.append(at)
    starts.sort()
    found = []
    for begin, stop in zip(starts, [*starts[1:], end], strict=True):
        total = data[begin + _TOTAL : begin + _TOTAL + 5]
        flags = total[0] & 0xF0 if total else 0
        found.append(Stream(begin, stop, int.from_bytes(total, "big") & (1 << 36) - 1, flags))
    return found


def _plausible(info: bytes) -> bool:
    """Tell a STREAMINFO from bytes of a frame or a picture that look like one."""
    smallest, largest = (int.from_bytes(info[k : k + 2], "big") for k in (0, 2))
    return len(info) == 34 and 16 <= smallest <= largest and info[10:13] != bytes(3)
