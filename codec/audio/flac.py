"""FLAC: streams that follow each other. Their totals are treated as claims.

Source: RFC 9639, sections 8 (metadata) and 9.1 (frame headers).
"""

from __future__ import annotations

import dataclasses

from codec.audio.content import Bytes, Part
from codec.audio.mpeg import after_id3, before_tags

_START = b"fLaC"
_INFO = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")  # and a STREAMINFO of 34 bytes
_TOTAL = 8 + 13  # offset of the total: 36 bits, the lower half of this byte and 4 more bytes
_FIXED, _VARIABLE = b"\xff\xf8", b"\xff\xf9"  # of frames numbered by frames, or by samples
_HEADER = 16  # bytes of a frame's header, at most
_TRIED = 100_000  # places of a stream that may be frames: chance gives one in 64 KB
_LOOKALIKES = 1000
_LARGEST = 1 << 22  # bytes of a frame, where the header does not say
_LOST_AT_START = 10  # frames that may be missing before the first readable one


@dataclasses.dataclass(frozen=True)
class Stream:
    """One stream. start, stop: its bytes. claimed: samples of each channel that its header states
    or, as encoders of what arrives state none, that its last frame shows; 0 if neither is known.
    block: samples of its largest frame, as its header says, at least 1."""

    start: int
    stop: int
    claimed: int
    flags: int  # the upper half of the byte in which the total begins
    block: int

    @property
    def whole(self) -> list[Part]:
        """Return the stream unchanged."""
        return [(self.start, self.stop)]

    @property
    def endless(self) -> list[Part]:
        """Return the stream without its total, so that a decoder reads to the end."""
        at = self.start + _TOTAL
        return [(self.start, at), bytes([self.flags, 0, 0, 0, 0]), (at + 5, self.stop)]

    def endless_from(self, data: Bytes, frame: int) -> list[Part]:
        """Return the same without the frames before byte `frame`."""
        head, total, (rest, _) = self.endless
        return [head, total, (rest, _first_frame(data, self.start, self.stop)), (frame, self.stop)]


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
        claimed = int.from_bytes(total, "big") & (1 << 36) - 1
        block = max(1, int.from_bytes(data[begin + 10 : begin + 12], "big"))
        found.append(Stream(begin, stop, claimed or _counted(data, begin, stop), flags, block))
    return found


def intact_frame(
    data: Bytes, stream: Stream, sample: int, start: int = 0
) -> tuple[int, int] | None:
    """Find the first frame that begins at `sample` of a stream or later and has right checksums.

    start: a byte that it does not begin before. Returns its first byte and its first sample, or
    None if there is none.
    """
    first = _first_frame(data, stream.start, stream.stop)
    sync, block = bytes(data[first : first + 2]), stream.block
    opening = _frame(bytes(data[first : first + _HEADER]))
    if sync not in (_FIXED, _VARIABLE) or opening is None:  # it is damaged: as most encoders write
        smallest = int.from_bytes(data[stream.start + 8 : stream.start + 10], "big")
        sync, opening = _FIXED if smallest == block else _VARIABLE, None
    lowest = None if opening is None else opening[0]
    step = 1 if sync == _VARIABLE else block if opening is None else opening[1]
    most = int.from_bytes(data[stream.start + 15 : stream.start + 18], "big") or _LARGEST
    at = max(first, start) - 1
    begin = None  # of the frame that may be undamaged, and its first sample
    while at < stream.stop:
        at = data.find(sync, at + 1, stream.stop)
        at = at if at >= 0 else stream.stop
        found = _frame(bytes(data[at : at + _HEADER])) if at < stream.stop else (0, 0)
        if found is None:
            continue
        whole = begin is not None and at - begin[0] <= most
        if begin is not None and whole and _crc16(bytes(data[begin[0] : at])) == 0:
            return begin
        if lowest is None:  # a recording of a broadcast does not begin with number 0
            lowest = 0 if found[0] * step <= _LOST_AT_START * block else found[0]
        place = (found[0] - lowest) * step
        begin = (at, place) if place >= sample else None
    return None


def _counted(data: Bytes, begin: int, stop: int) -> int:
    """Return the samples up to the end of the last frame of a stream, 0 if none is found.

    It is searched from the end, behind which other bytes may lie. What looks like a frame is one if
    the frame before it is found too, by its number, or if it is the first.
    """
    first = _first_frame(data, begin, stop)
    sync = bytes(data[first : first + 2])
    frame = _frame(bytes(data[first : first + _HEADER]))
    if sync not in (_FIXED, _VARIABLE) or frame is None:
        return 0
    lowest = frame[0]  # above 0 in a recording of a broadcast
    sizes: dict[int, int] = {}  # of what may be frames, by their numbers
    for _ in range(_TRIED):
        at = data.rfind(sync, first, stop)
        if at < 0:
            break
        stop = at + 1
        frame = _frame(bytes(data[at : at + _HEADER]))
        if frame is None:
            continue
        number, size = frame
        following = number + (size if sync == _VARIABLE else 1)
        if following in sizes:
            before = following - lowest
            return (before if sync == _VARIABLE else before * size) + sizes[following]
        if at == first:
            return size
        if len(sizes) < _LOOKALIKES:
            sizes.setdefault(number, size)
    return 0


def _first_frame(data: Bytes, begin: int, stop: int) -> int:
    """Return where the blocks of metadata of a stream end, `stop` if they do not."""
    at = begin + len(_START)
    while at + 4 <= stop:
        head = data[at : at + 4]
        at += 4 + int.from_bytes(head[1:], "big")
        if head[0] & 0x80:
            break
    return min(at, stop)


def _frame(head: bytes) -> tuple[int, int] | None:
    """Return the number of a frame, or of its first sample, and how many samples it has.

    head: its first bytes. None if they are no header of a frame, by its checksum.
    """
    if len(head) < 6 or head[3] & 1:
        return None
    # The number is coded as UTF-8 codes characters, in up to 7 bytes.
    ones = 8 - (head[4] ^ 0xFF).bit_length()
    if ones == 1 or ones == 8:
        return None
    at = 5 + max(0, ones - 1)
    number = head[4] & 0x7F >> ones
    for byte in head[5:at]:
        if byte >> 6 != 2:
            return None
        number = number << 6 | byte & 0x3F
    code, rate = head[2] >> 4, head[2] & 15
    if code == 0:
        return None
    wide = {6: 1, 7: 2}.get(code, 0)  # bytes of a size that follows
    if wide:
        size = int.from_bytes(head[at : at + wide], "big") + 1
    else:
        size = 192 if code == 1 else 144 << code if code < 6 else 1 << code
    at += wide + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    whole = at < len(head) and rate != 15
    return (number, size) if whole and _crc8(head[: at + 1]) == 0 else None


def _crc8(data: bytes) -> int:
    """Return the checksum of `data`, 0 if it ends with its checksum."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x107 if crc & 0x80 else 0)) & 0xFF
    return crc


def _crc16(data: bytes) -> int:
    """Return the checksum of a frame, 0 if it ends with its checksum."""
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ _CRC16[crc >> 8 ^ byte]
    return crc


def _crc16_of(byte: int) -> int:
    crc = byte << 8
    for _ in range(8):
        crc = (crc << 1 ^ (0x18005 if crc & 0x8000 else 0)) & 0xFFFF
    return crc


_CRC16 = [_crc16_of(byte) for byte in range(256)]


def _plausible(info: bytes) -> bool:
    """Tell a STREAMINFO from bytes of a frame or a picture that look like one."""
    smallest, largest = (int.from_bytes(info[k : k + 2], "big") for k in (0, 2))
    return len(info) == 34 and 16 <= smallest <= largest and info[10:13] != bytes(3)
