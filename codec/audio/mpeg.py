"""MP3: finds all frames one by one, so that a wrong header loses none.

Sources: ISO/IEC 11172-3 and 13818-3 (frames); the Xing and VBRI headers as LAME and Fraunhofer
write them.
"""

from __future__ import annotations

import dataclasses
import struct

from codec.audio.content import Bytes, Part

_KBITS = {
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 1): tuple(range(32, 449, 32)),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
}  # by version (2.5 as 2) and layer
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_STREAM = 0xFFFE0C00  # bits that all frames of a stream share: sync, version, layer, rate
_SEARCHED = 1 << 16  # bytes before the first frame that are searched


def frame_length(word: int) -> int:
    """Return the bytes of the frame with the 32-bit header `word`; 0 if it is no header."""
    version, layer = word >> 19 & 3, 4 - (word >> 17 & 3)
    kbits, rate = word >> 12 & 15, word >> 10 & 3
    if word >> 21 != 0x7FF or version == 1 or layer == 4 or rate == 3 or not 0 < kbits < 15:
        return 0
    hertz = _RATES[version][rate]
    bits = 1000 * _KBITS[1 if version == 3 else 2, layer][kbits - 1]
    padding = word >> 9 & 1
    if layer == 1:
        return (12 * bits // hertz + padding) * 4
    return (72 if version != 3 and layer == 3 else 144) * bits // hertz + padding


def _word(data: Bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def after_id3(data: Bytes) -> int:
    """Return where the ID3v2 tags at the front end."""
    at = 0
    while data[at : at + 3] == b"ID3" and len(data) >= at + 10:
        size = 0
        for byte in data[at + 6 : at + 10]:
            size = size << 7 | byte & 0x7F
        at += 10 + size + (10 if data[at + 5] & 0x10 else 0)
    return min(at, len(data))


def before_tags(data: Bytes) -> int:
    """Return where the tags at the end begin: ID3v1, APE."""
    end = len(data)
    while True:
        if end >= 128 and data[end - 128 : end - 125] == b"TAG":
            end -= 128
        elif end >= 32 and data[end - 32 : end - 24] == b"APETAGEX":
            size, _, flags = struct.unpack("<III", data[end - 20 : end - 8])
            end -= min(end, size + (32 if flags >> 31 else 0)) or end
        else:
            return end


def first_frame(data: Bytes, at: int) -> int | None:
    """Find the first frame near `at` that other frames follow; None if none is found."""
    for place in range(at, min(at + _SEARCHED, len(data) - 3)):
        if data[place] == 0xFF and follow(data, place, 3 if place == at else 6):
            return place
    return None


def follow(data: Bytes, at: int, times: int) -> bool:
    """Tell whether `times` frames of one stream follow each other, or all up to the end."""
    word = _word(data, at)
    found = 0
    while found < times:
        length = frame_length(_word(data, at))
        if not length or (_word(data, at) ^ word) & _STREAM:
            return False
        at, found = at + length, found + 1
        if at >= len(data) - 3:
            return found > 1 or at <= len(data)
        if data[at : at + 3] in (b"TAG", b"APE", b"ID3"):
            return True
    return True


@dataclasses.dataclass(frozen=True)
class Frames:
    """The frames of an MP3. parts: the decoder's input, with a header that counts the frames.

    missing: samples that the file says it had, and has not. clean: nothing lies between frames.
    samples: how many there are, if no header says so.
    """

    parts: list[Part]
    missing: int
    clean: bool
    cut: bool
    samples: int | None = None


def frames(data: Bytes, start: int) -> Frames:
    """Find all frames of layer I to III from the first at `start`."""
    first = _word(data, start)
    end = before_tags(data)
    ranges: list[tuple[int, int]] = []
    at, count, clean, cut = start, 0, True, False
    while at + 4 <= end:
        word = _word(data, at)
        length = 0 if (word ^ first) & _STREAM else frame_length(word)
        if length and at + length <= end:
            if ranges and ranges[-1][1] == at:
                ranges[-1] = (ranges[-1][0], at + length)
            else:
                ranges.append((at, at + length))
            at, count = at + length, count + 1
            continue
        if length:  # it would end beyond the file, if it is a frame
            cut = True
            break
        found = _resume(data, at + 1, end, first)
        if found is None:
            # Tags, or a stream of another rate, which cannot be joined to this one.
            clean = clean and first_frame(data, at) is None
            break
        clean = clean and data[at : at + 3] == b"ID3"
        at = found
    version, layer = first >> 19 & 3, 4 - (first >> 17 & 3)
    if layer != 3 or not ranges:
        return Frames(list(ranges), 0, clean, cut, count * (384 if layer == 1 else 1152) or None)
    samples = 1152 if version == 3 else 576
    mono = (first >> 6 & 3) == 3
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    tag = start + 4 + side
    if data[tag : tag + 4] in (b"Xing", b"Info") and data[tag + 7] & 1:
        claimed = _word(data, tag + 8)
        if claimed == count - 1:
            return Frames(list(ranges), 0, clean, cut)
        # mpg123 stops at the frames and at the bytes that the header claims.
        stated = struct.pack(">I", count - 1)
        if data[tag + 7] & 2:
            stated += struct.pack(">I", sum(stop - begin for begin, stop in ranges))
        head = (start, tag + 8)
        rest = (tag + 8 + len(stated), ranges[0][1])
        parts: list[Part] = [head, stated, rest, *ranges[1:]]
        return Frames(parts, max(0, claimed - count + 1) * samples, clean, cut)
    claimed = count
    if data[start + 36 : start + 40] == b"VBRI":
        claimed = _word(data, start + 36 + 14)
        ranges[0] = (start + frame_length(first), ranges[0][1])
        count -= 1
    return Frames(list(ranges), max(0, claimed - count) * samples, clean, cut, count * samples)


def _resume(data: Bytes, at: int, end: int, first: int) -> int | None:
    """Find the next frame of the stream that another frame follows."""
    sync = bytes([0xFF])
    while 0 <= (at := data.find(sync, at, end)) <= end - 4:
        if not (_word(data, at) ^ first) & _STREAM and follow(data, at, 2):
            return at
        at += 1
    return None
