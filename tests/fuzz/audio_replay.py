"""Fuzzing of everything that reads audio: small files of every kind, damaged at random.

    python -m tests.fuzz.audio_replay SECONDS [SEED]

Each is read as a file and, if a WAV, from a pipe. It must give samples or an AudioError, within
a bound of time and of memory; a crash or a hang ends the process, which names its seed before.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import random
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np

from codec.audio import AudioReader
from codec.audio.pipes import NotStreamableError, open_wav
from codec.errors import AudioError
from tests.helpers.audio_inputs import EVERYTHING

MOST_SECONDS = 20.0
MOST_BYTES = 64 << 20
_NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0")


def mutated(data: bytes, draw: random.Random) -> bytes:
    """`data` with a few bytes changed, numbers set to extremes, parts cut, moved, doubled."""
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        if not out:
            break
        # Headers are where most can go wrong.
        most = len(out) if draw.random() < 0.4 else min(len(out), 200)
        at = draw.randrange(most)
        match draw.randrange(6):
            case 0:
                out[at] = draw.randrange(256)
            case 1:
                out[at] ^= 1 << draw.randrange(8)
            case 2:
                out[at : at + 4] = draw.choice(_NUMBERS)
            case 3:
                del out[at : at + draw.choice((1, 2, 4, 100, 5000))]
            case 4:
                out[at:at] = out[: draw.choice((1, 4, 40, 1000))]
            case _:
                out[at:at] = draw.randbytes(draw.choice((1, 2, 4, 500)))
    return bytes(out)


def replay(data: bytes, start: float = 0.0) -> int:
    """Read `data` in every way; the number of samples."""
    samples = 0
    with contextlib.suppress(AudioError), AudioReader(io.BytesIO(data), start) as reader:
        for block in reader:
            assert block.dtype == np.float32
            assert len(block) == reader.channels
            samples += block.shape[1]
        assert samples == reader.n_samples
    with contextlib.suppress(AudioError, NotStreamableError):
        for block in open_wav(io.BytesIO(data)):
            assert block.dtype == np.float32
    return samples


def fail_in_callbacks(problem: sys.UnraisableHookArgs) -> None:
    """End the process: an exception within a callback of libsndfile would go unseen."""
    sys.__unraisablehook__(problem)
    os._exit(1)


def main(seconds: float, seed: int) -> None:
    """Fuzz for `seconds`, and say how many files were read."""
    sys.unraisablehook = fail_in_callbacks
    sound = {name: make() for name, make in EVERYTHING.items()}
    cases = Path("shared/cases")
    sound |= {path.name: path.read_bytes() for path in cases.glob("*") if cases.is_dir()}
    end, count, most, read = time.monotonic() + seconds, 0, 0.0, 0
    while time.monotonic() < end:
        draw = random.Random(seed)
        name = draw.choice(sorted(sound))
        data = mutated(sound[name], draw)
        print(f"\r{seed} {name:<24}", end="", flush=True)
        faulthandler.dump_traceback_later(4 * MOST_SECONDS, exit=True)
        tracemalloc.start()
        begun = time.process_time()
        read += bool(replay(data, draw.choice((0, 0, 0.1))))
        took, peak = time.process_time() - begun, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        faulthandler.cancel_dump_traceback_later()
        assert took < MOST_SECONDS, f"{took:.1f} s of CPU"
        assert peak < MOST_BYTES, f"{peak} bytes"
        most, seed, count = max(most, took), seed + 1, count + 1
    print(f"\r{count} files, {read} gave samples, none took more than {most:.2f} s of CPU")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
