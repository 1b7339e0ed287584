"""NIST SPHERE: where the samples of a file begin and end, which decoders do not look at.

Source: NIST, "SPeech HEader REsources". The header is text: a line for each field, "name -type
value", of a length that its second line states.
"""

from __future__ import annotations

from codec.audio.content import Bytes, Part, only_zeros

_LONGEST = 1 << 16  # bytes of a header that are looked at; usual are 1024
_PLAIN = ("", "pcm", "ulaw", "mu-law", "alaw")  # codings of as many bytes as the header says
_MORE = "more follows than the header claims, which was not read"


def extent(data: Bytes) -> tuple[int, int]:
    """Return where the samples begin, and their bytes; 0 if the header does not say."""
    head = bytes(data[:_LONGEST])
    lines = head.split(b"\n", 2)
    start = _number(lines[1]) if len(lines) == 3 else 0
    fields = {}
    for line in head[:start].split(b"end_head")[0].splitlines():
        words = line.decode("ascii", "replace").split(None, 2)
        if len(words) == 3:
            fields[words[0]] = words[2].strip()
    if fields.get("sample_coding", "").lower() not in _PLAIN:
        return start, 0
    frame = _number(fields.get("channel_count", "1")) * _number(fields.get("sample_n_bytes", ""))
    return start, _number(fields.get("sample_count", "")) * frame


def samples(data: Bytes) -> tuple[list[Part], list[str]]:
    """Return the file without what follows its samples, and what is to be warned of."""
    end = sum(extent(data))
    if end >= len(data) or not extent(data)[1]:
        return [(0, len(data))], []
    return [(0, end)], [] if only_zeros(data, end) else [_MORE]


def _number(text: str | bytes) -> int:
    """Return the number that `text` is, 0 if it is none that a file can have."""
    text = text.strip()
    return int(text) if len(text) < 16 and text.isdigit() and text.isascii() else 0
