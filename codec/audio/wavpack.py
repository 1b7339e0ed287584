"""WavPack: where its first stream ends, behind which FFmpeg stops without a word.

Source: the WavPack 5 file format, "Block header" (wavpack.com).
"""

from __future__ import annotations

import struct

from codec.audio.content import Bytes
from codec.audio.mpeg import before_tags

_HEADER = struct.Struct("<4sIHBBIII")  # id, size - 8, version, index and total above 32 bits, ...


def bytes_behind(data: Bytes) -> int:
    """Count the bytes behind the blocks of the first stream, tags at the end left out."""
    at, next_index, end = 0, 0, before_tags(data)
    while at + _HEADER.size <= end:
        head = bytes(data[at : at + _HEADER.size])
        name, size, _, high, _, _, index, samples = _HEADER.unpack(head)
        index |= high << 32
        if name != b"wvpk" or (samples and index + samples < next_index):
            break
        next_index = max(next_index, index + samples)
        at += size + 8
    return max(0, end - at)
