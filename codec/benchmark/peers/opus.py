"""Run Opus by the tools of its authors (opus-tools)."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from codec.audio import read_audio, write_audio
from codec.benchmark.peers.base import Encoded, kbps, needs, run
from codec.errors import PeerError
from codec.quality.pair import Audio

HEADER_PACKETS = 2  # OpusHead and OpusTags (RFC 7845, §5)
PAGE_HEADER_BYTES = 27


class Opus:
    """Opus with the defaults of opusenc: variable bit rate, frames of 20 ms.

    Settings are target kbit/s. opusenc chooses band and mode by the bitrate; opusdec removes the
    delay.
    """

    name = "opus"
    kinds: frozenset[str] | None = None
    settings: tuple[str, ...] = ("6", "9", "12", "16", "24")
    sample_rate = 48_000

    def __init__(self) -> None:
        self._encoder, self._decoder = (needs(t, "opus-tools") for t in ("opusenc", "opusdec"))

    @functools.cached_property
    def title(self) -> str:
        first = run([self._encoder, "--version"]).decode().splitlines()[0]
        library = next((w for w in first.split() if w[:1].isdigit()), "")
        words = first.replace("(", " ").replace(")", " ").split()
        if "libopus" in words:
            library = words[words.index("libopus") + 1]
        return f"Opus (libopus {library})"

    def encode(self, audio: Audio, setting: str) -> Encoded:
        rate = kbps(setting, self.name)
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in.wav"), Path(folder, "out.opus")
            write_audio(source, audio[None], self.sample_rate, ".wav")
            run([self._encoder, "--quiet", "--bitrate", f"{rate:g}", source, target])
            data = target.read_bytes()
        return Encoded(data, 8 * sum(map(len, ogg_packets(data)[HEADER_PACKETS:])))

    def decode(self, data: bytes, setting: str) -> Audio:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in.opus"), Path(folder, "out.wav")
            source.write_bytes(data)
            command = [self._decoder, "--quiet", "--float", "--rate", self.sample_rate]
            run([*map(str, command), source, target])
            audio: Audio = read_audio(target)[0][0]
        return audio


def ogg_packets(data: bytes) -> list[bytes]:
    """Return the packets of an Ogg stream (RFC 3533, §6). Raises PeerError."""
    packets, open_packet = [], b""
    for _, lacing, body in _pages(data):
        start = 0
        for segment in lacing:
            open_packet += body[start : start + segment]
            start += segment
            if segment < 255:
                packets.append(open_packet)
                open_packet = b""
    return packets


def last_granule(data: bytes) -> int:
    """Return the granule position of the last page: samples at 48 kHz, with the pre-skip (RFC 7845,
    §4). Raises PeerError."""
    last = 0
    for header, _, _ in _pages(data):
        last = int.from_bytes(header[6:14], "little", signed=True)
    return last


def _pages(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Give the header, the segment table and the body of each page."""
    at = 0
    while at < len(data):
        header = data[at : at + PAGE_HEADER_BYTES]
        if header[:4] != b"OggS" or len(header) < PAGE_HEADER_BYTES:
            raise PeerError("not an Ogg stream")
        at += PAGE_HEADER_BYTES
        lacing = data[at : at + header[26]]
        at += len(lacing)
        body = data[at : at + sum(lacing)]
        if len(lacing) < header[26] or len(body) < sum(lacing):
            raise PeerError("the Ogg stream is cut")
        at += len(body)
        yield header, lacing, body
