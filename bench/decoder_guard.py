"""What it would cost to decode FLAC, Ogg and clean MP3 in a process of its own, as a guard.

    python -m bench.decoder_guard

Prints CPU seconds a clip, those of child processes included: to read it here, to read it through a
helper, and to encode it. docs/architecture.md says what was decided by them.
"""

from __future__ import annotations

import io
import resource
from collections.abc import Callable

import numpy as np
import soundfile

import codec
from codec.audio import AudioReader
from codec.audio.helper import Helper

RATE = 16_000
KINDS = {"flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "mp3": ("MP3", "MPEG_LAYER_III")}
ROUNDS = 10


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(who) for who in whose]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def cost(act: Callable[[], object]) -> float:
    """The median CPU seconds of some rounds."""
    taken = []
    for _ in range(ROUNDS):
        begun = cpu_seconds()
        act()
        taken.append(cpu_seconds() - begun)
    return sorted(taken)[ROUNDS // 2]


def helped(data: bytes, kind: str) -> None:
    """Read `data` through a helper."""
    helper = Helper(io.BytesIO(data), kind, "libsndfile")
    try:
        list(helper.blocks())
    finally:
        helper.close()


def read(data: bytes) -> None:
    """Read `data` in this process, as the package does."""
    with AudioReader(io.BytesIO(data)) as reader:
        list(reader)


def main() -> None:
    """Print a line for each kind and length."""
    tool = codec.load()
    print("kind   length  read here  read by a helper  encode")
    for seconds in (3, 300):
        audio = np.random.default_rng(0).normal(0, 0.1, seconds * RATE).astype(np.float32)
        encode = cost(lambda a=audio: tool.encode(a, RATE)) if seconds < 60 else float("nan")
        for kind, (name, subtype) in KINDS.items():
            file = io.BytesIO()
            with soundfile.SoundFile(file, "w", RATE, 1, subtype, format=name) as out:
                for start in range(0, len(audio), RATE):  # libvorbis keeps a block on the stack
                    out.write(audio[start : start + RATE])
            data = file.getvalue()
            here, there = cost(lambda d=data: read(d)), cost(lambda d=data, k=kind: helped(d, k))
            print(f"{kind:<5} {seconds:5} s  {here:9.4f}  {there:16.4f}  {encode:6.4f}")


if __name__ == "__main__":
    main()
