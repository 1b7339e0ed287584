"""Ogg: pages, the streams that they carry, and the links that follow each other.

Sources: RFC 3533 (Ogg), RFC 7845 (Opus), "Ogg FLAC mapping" (Xiph).
"""

from __future__ import annotations

import dataclasses

from codec.audio.content import Bytes, Part
from codec.errors import AudioError

_MAGICS = {
    b"\x01vorbis": "Vorbis", b"OpusHead": "Opus", b"\x7fFLAC": "FLAC", b"Speex   ": "Speex",
}  # fmt: skip
READABLE = ("Vorbis", "Opus", "FLAC")


@dataclasses.dataclass
class Stream:
    """A logical stream and the places of its pages.

    granule: the position at the end of the last page that ends a packet. last_page: by how much
    that is beyond the one before, for Vorbis in samples.
    """

    codec: str
    head: bytes
    pages: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    ended: bool = False
    last_number: int = -1
    gaps: int = 0
    granule: int = 0
    last_page: int = 0


@dataclasses.dataclass
class Link:
    """Streams that run side by side, by their serial numbers."""

    streams: dict[int, Stream] = dataclasses.field(default_factory=dict)
    begun: bool = False

    @property
    def audio(self) -> Stream | None:
        """Return the first stream that can be read, or else the first stream of audio."""
        streams = list(self.streams.values())
        for wanted in (READABLE, ("Speex",)):
            for stream in streams:
                if stream.codec in wanted:
                    return stream
        return None


def links(data: Bytes) -> tuple[list[Link], bool]:
    """Return the links of an Ogg file, and whether it is cut off or has bytes outside pages."""
    found: list[Link] = []
    at, damaged = 0, False
    while at < len(data):
        if data[at : at + 4] != b"OggS":
            again = data.find(b"OggS", at)
            damaged = damaged or again >= 0
            if again < 0:
                break
            at = again
        head = data[at : at + 27]
        lacing = data[at + 27 : at + 27 + head[26]] if len(head) == 27 else b""
        stop = at + 27 + len(lacing) + sum(lacing)
        if len(head) < 27 or len(lacing) < head[26] or stop > len(data):
            damaged = True
            if (again := data.find(b"OggS", at + 4)) < 0:
                break
            at = again
            continue
        flags, serial = head[5], int.from_bytes(head[14:18], "little")
        number = int.from_bytes(head[18:22], "little")
        if flags & 2:
            if not found or found[-1].begun:
                found.append(Link())
            body = bytes(data[at + 27 + len(lacing) : stop])
            codec = next((name for magic, name in _MAGICS.items() if body.startswith(magic)), "")
            found[-1].streams[serial] = Stream(codec, body)
        elif found:
            found[-1].begun = True
        stream = found[-1].streams.get(serial) if found else None
        if stream:
            if stream.last_number >= 0 and number != stream.last_number + 1:
                stream.gaps += 1
            stream.last_number = number
            if (granule := int.from_bytes(head[6:14], "little", signed=True)) >= 0:
                stream.last_page, stream.granule = granule - stream.granule, granule
            stream.ended = stream.ended or bool(flags & 4)
            if stream.pages and stream.pages[-1][1] == at:
                stream.pages[-1] = (stream.pages[-1][0], stop)
            else:
                stream.pages.append((at, stop))
        at = stop
    return found, damaged


def native_flac(data: Bytes, stream: Stream) -> list[Part]:
    """Return the FLAC stream in `stream` as a file of its own."""
    if not stream.head[9:13] == b"fLaC":
        raise AudioError("FLAC in Ogg of an unknown version")
    parts: list[Part] = []
    first = True
    for start, stop in stream.pages:
        at = start
        while at < stop:
            lacing = data[at + 27 : at + 27 + data[at + 26]]
            body = at + 27 + len(lacing)
            at = body + sum(lacing)
            parts.append((body + 9 if first else body, at))
            first = False
    return parts


def is_discrete(stream: Stream) -> bool:
    """Tell whether the channels have no speakers assigned: Opus of another mapping family."""
    return stream.codec == "Opus" and len(stream.head) > 18 and stream.head[18] not in (0, 1)
