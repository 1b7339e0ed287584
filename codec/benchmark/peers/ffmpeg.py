"""Run codecs through ffmpeg."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from pathlib import Path

from codec.audio import read_audio, write_audio
from codec.benchmark.peers.base import Encoded, kbps, needs, run
from codec.errors import PeerError
from codec.quality.pair import Audio


@dataclasses.dataclass(frozen=True)
class Ffmpeg:
    """A codec of ffmpeg. Settings are target kbit/s; ffprobe lists the packets of the payload."""

    name: str
    label: str
    encoder: str
    suffix: str
    sample_rate: int
    settings: tuple[str, ...]
    kinds: frozenset[str] | None = None

    def __post_init__(self) -> None:
        listed = run([needs("ffmpeg", "ffmpeg"), "-hide_banner", "-encoders"]).decode()
        if self.encoder not in listed.split():
            raise PeerError(f"this ffmpeg has no {self.encoder}")
        needs("ffprobe", "ffmpeg")

    @functools.cached_property
    def title(self) -> str:
        version = run(["ffmpeg", "-version"]).decode().split()[2]
        return f"{self.label} (ffmpeg {version}, {self.encoder})"

    def encode(self, audio: Audio, setting: str) -> Encoded:
        rate = kbps(setting, self.name)
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in.wav"), Path(folder, f"out{self.suffix}")
            write_audio(source, audio[None], self.sample_rate, ".wav")
            command = ["ffmpeg", "-v", "error", "-i", str(source), "-c:a", self.encoder]
            command += ["-b:a", f"{1000 * rate:.0f}", "-map_metadata", "-1", str(target)]
            run(command)
            sizes = run(
                ["ffprobe", "-v", "error", "-show_entries", "packet=size", "-of", "csv=p=0", target]
            )
            data = target.read_bytes()
        return Encoded(data, 8 * sum(int(line.strip(b",")) for line in sizes.split()))

    def decode(self, data: bytes, setting: str) -> Audio:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, f"in{self.suffix}"), Path(folder, "out.wav")
            source.write_bytes(data)
            command = ["ffmpeg", "-v", "error", "-i", str(source), "-ar", str(self.sample_rate)]
            run([*command, "-ac", "1", "-c:a", "pcm_f32le", str(target)])
            audio: Audio = read_audio(target)[0][0]
        return audio


def mp3() -> Ffmpeg:
    return Ffmpeg("mp3", "MP3", "libmp3lame", ".mp3", 24_000, ("16", "24", "32"))


def aac() -> Ffmpeg:
    return Ffmpeg("aac", "AAC-LC", "aac", ".m4a", 24_000, ("12", "16", "24", "32"))


def speex() -> Ffmpeg:
    rates = ("6", "10", "16", "24")
    return Ffmpeg("speex", "Speex", "libspeex", ".spx", 16_000, rates, frozenset({"speech"}))
