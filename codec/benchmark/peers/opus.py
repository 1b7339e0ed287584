"""Run Opus by the tools of its authors (opus-tools)."""

from __future__ import annotations

import functools
import tempfile
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
    settings = ("6", "9", "12", "16", "24")
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
        return Encoded(data, 8 * sum(ogg_packets(data)[HEADER_PACKETS:]))

    def decode(self, data: bytes, setting: str) -> Audio:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in.opus"), Path(folder, "out.wav")
            source.write_bytes(data)
            command = [self._decoder, "--quiet", "--float", "--rate", self.sample_rate]
            run([*map(str, command), source, target])
            audio: Audio = read_audio(target)[0][0]
        return audio


def ogg_packets(data: bytes) -> list[int]:
    """Return the packet lengths of an Ogg stream (RFC 3533, §6). Raises PeerError."""
    lengths, open_packet, at = [], 0, 0
    while at < len(data):
        if data[at : at + 4] != b"OggS" or at + PAGE_HEADER_BYTES > len(data):
            raise PeerError("not an Ogg stream")
        count = data[at + 26]
        lacing = data[at + PAGE_HEADER_BYTES : at + PAGE_HEADER_BYTES + count]
        for segment in lacing:
            open_packet += segment
            if segment < 255:
                lengths.append(open_packet)
                open_packet = 0
        at += PAGE_HEADER_BYTES + count + sum(lacing)
    return lengths
