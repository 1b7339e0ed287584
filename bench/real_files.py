"""Real files of many programs, against FFmpeg's decode of them.

    python -m bench.real_files [N]

Makes N (200 by default) files with those of ffmpeg, sox, lame, oggenc, opusenc and flac that are
installed, across formats, rates, numbers of channels and cuts, and compares the samples that reach
the encoder with those of the command ffmpeg: their number, the order of the channels, and for
lossless formats their values; or else there must be an error or a warning. Exits with 1 if one
differs without a word.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from codec.audio import AudioReader
from codec.errors import AudioError

# Program, its command from {i} to {o}, suffix, lossless, rates (None: any), most channels.
_FFMPEG = "ffmpeg -v error -y -i {i} "
PROGRAMS: list[tuple[str, str, str, bool, int]] = [
    ("ffmpeg", _FFMPEG + "{o}", "wav", True, 8),
    ("ffmpeg", _FFMPEG + "-c:a pcm_s24le {o}", "wav", True, 8),
    ("ffmpeg", _FFMPEG + "-rf64 always {o}", "wav", True, 8),
    ("ffmpeg", _FFMPEG + "{o}", "w64", True, 8),
    ("ffmpeg", _FFMPEG + "{o}", "flac", True, 8),
    ("ffmpeg", _FFMPEG + "{o}", "caf", True, 2),
    ("ffmpeg", _FFMPEG + "{o}", "aiff", True, 2),
    ("ffmpeg", _FFMPEG + "{o}", "au", True, 2),
    ("ffmpeg", _FFMPEG + "-c:a flac {o}", "oga", True, 6),
    ("ffmpeg", _FFMPEG + "-c:a aac {o}", "m4a", False, 6),
    ("ffmpeg", _FFMPEG + "-c:a alac {o}", "m4a", True, 2),
    ("ffmpeg", _FFMPEG + "-c:a aac -f adts {o}", "aac", False, 2),
    ("ffmpeg", _FFMPEG + "-c:a libopus -ar 48000 {o}", "webm", False, 2),
    ("ffmpeg", _FFMPEG + "-c:a flac {o}", "mka", True, 2),
    ("ffmpeg", _FFMPEG + "-c:a wmav2 {o}", "wma", False, 2),
    ("ffmpeg", _FFMPEG + "-c:a ac3 -ar 48000 {o}", "ac3", False, 6),
    ("ffmpeg", _FFMPEG + "-c:a libmp3lame -write_xing 0 -q:a 4 {o}", "mp3", False, 2),
    ("ffmpeg", _FFMPEG + "-c:a libopus -ar 48000 -mapping_family 1 {o}", "opus", False, 8),
    ("ffmpeg", _FFMPEG + "-c:a libvorbis {o}", "ogg", False, 8),
    ("sox", "sox {i} {o}", "wav", True, 8),
    ("sox", "sox {i} -b 24 {o}", "flac", True, 8),
    ("sox", "sox {i} {o}", "sph", True, 2),
    ("sox", "sox {i} -e a-law {o}", "wav", True, 2),
    ("sox", "sox {i} {o}", "aiff", True, 2),
    ("lame", "lame --quiet {i} {o}", "mp3", False, 2),
    ("lame", "lame --quiet -V 5 {i} {o}", "mp3", False, 2),
    ("lame", "lame --quiet -t -V 5 {i} {o}", "mp3", False, 2),
    ("oggenc", "oggenc -Q {i} -o {o}", "ogg", False, 6),
    ("opusenc", "opusenc --quiet {i} {o}", "opus", False, 6),
    ("flac", "flac -s -f {i} -o {o}", "flac", True, 6),
]
RATES = (8000, 16_000, 22_050, 44_100, 48_000)


def sound(path: Path, rate: int, channels: int, samples: int) -> None:
    """A WAV whose channels differ in loudness and pitch, so that an order is heard."""
    t = np.arange(samples)[:, None] / rate
    k = np.arange(channels)
    audio = 0.6 / (1 + k) * np.sin(2 * np.pi * t * (60 + 15 * k))
    noise = np.random.default_rng(0).normal(0, 0.01, audio.shape)
    soundfile.write(path, audio + noise, rate, subtype="PCM_16")


def by_ffmpeg(path: Path, channels: int, rate: int) -> np.ndarray:
    """float32 [channels, samples] as the command ffmpeg decodes it."""
    command = ["ffmpeg", "-v", "quiet", "-i", str(path), "-map", "0:a:0", "-f", "f32le"]
    command += ["-c:a", "pcm_f32le", "-"]
    data = subprocess.run(command, capture_output=True, check=False).stdout
    whole = len(data) // (4 * channels) * 4 * channels
    return np.frombuffer(data[:whole], "<f4").reshape(-1, channels).T


def files(folder: Path, count: int) -> Iterator[tuple[Path, bool, str]]:
    """Files, whether they are lossless, and how each was made."""
    made = 0
    for k in itertools.count():
        program, command, suffix, lossless, most = PROGRAMS[k % len(PROGRAMS)]
        if made == count or k > 4 * count + 200:
            return
        round_ = k // len(PROGRAMS)
        rate = RATES[(round_ + k) % len(RATES)]
        channels = (1, 2, 2, 6, 4, 8, 3, 5)[round_ % 8]
        if not shutil.which(program) or channels > most:
            channels = min(channels, most)
        if not shutil.which(program):
            continue
        source, path = folder / "source.wav", folder / f"{k}.{suffix}"
        sound(source, rate, channels, rate + 777 * round_ + k)
        words = [w.format(i=source, o=path) for w in command.split()]
        run = subprocess.run(words, capture_output=True, check=False)
        if run.returncode or not path.exists():
            continue
        how = f"{' '.join(command.split()).replace('{i}', f'{channels}ch@{rate}')} .{suffix}"
        if round_ % 3 == 2:
            data = path.read_bytes()
            path.write_bytes(data[: len(data) * (3 + k % 6) // 10])
            how += " cut"
            lossless = False
        made += 1
        yield path, lossless, how
        path.unlink()


def compare(path: Path, lossless: bool) -> tuple[str, str]:
    """One of "equal", "warned", "refused", "DIFFERENT"; and more."""
    try:
        with AudioReader(path) as reader:
            audio = np.concatenate(list(reader), axis=1)
    except AudioError as error:
        return "refused", str(error)
    expected = by_ffmpeg(path, reader.channels, reader.sample_rate)
    if reader.warnings:
        return "warned", f"{reader.warnings[0]}; ffmpeg has {expected.shape[1]}"
    if path.suffix == ".opus" and reader.sample_rate != 48_000:
        # At the rate that its header names, for which Opus has a decoder; ffmpeg's is the fullest.
        times = 48_000 // reader.sample_rate
        expected = expected[:, : times * audio.shape[1] : times]
    if audio.shape != expected.shape:
        return "DIFFERENT", f"{audio.shape} and not {expected.shape} by {reader.decoder}"
    worst = float(np.abs(audio - expected).max(initial=0))
    loudness, by_peer = (np.sqrt(np.mean(x**2, axis=1)) for x in (audio, expected))
    if (lossless and worst > 0) or not np.allclose(loudness, by_peer, atol=0.02):
        return "DIFFERENT", f"by up to {worst:g}, by {reader.decoder}"
    return "equal", f"{worst:.1e}"


def main(count: int) -> int:
    """Make, compare and print; the number of files that differ without a word."""
    found: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path, lossless, how in files(Path(folder), count):
            verdict, more = compare(path, lossless)
            found[verdict] = found.get(verdict, 0) + 1
            if verdict != "equal":
                print(f"{verdict:<10}{how}: {more}")
    print(", ".join(f"{n} {verdict}" for verdict, n in sorted(found.items())))
    return found.get("DIFFERENT", 0)


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)))
