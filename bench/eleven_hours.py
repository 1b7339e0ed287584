"""Make one sequence of coarse tokens from eleven hours of audio, for a prompt of a million.

    python -m bench.eleven_hours FOLDER [--hours 11] [--codebooks 1]

The recordings in FOLDER, one after another and over again until they are that long, are written to
a FLAC file of 16 kHz. In a process of its own that file becomes codes, then ids of the layout
`flat` in a vocabulary above 50,257 ids of text, and the frames are counted when they are read back.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from codec.audio import READ_SUFFIXES, read_audio, resample
from codec.benchmark.machine import machine

RATE = 16_000
TEXT_IDS = 50_257  # those of GPT-2's tokenizer

# Run by itself, so that its peak is of nothing else.
WORK = """
import json, resource, sys, time
from pathlib import Path
import codec
from codec.corpus.items import Item
from codec.corpus.places import LocalFile
from codec.corpus.rows import Settings, tokenize
from codec.lm.layouts import make_layout
from codec.lm.vocabulary import Audio, Vocabulary

path, count = Path(sys.argv[1]), int(sys.argv[2])
started = time.monotonic()
model = codec.load(backend="native")
config = model.config
layout = make_layout("flat", count, config.codebook_size)
item = Item(path.name, LocalFile(path))
row = tokenize(model, item, Settings(count), None)
codes = row.ids[0].reshape(-1, count).T
vocabulary = Vocabulary(int(sys.argv[3]), layout, float(config.frame_rate))
ids = vocabulary.encode([Audio(codes)])
took = time.monotonic() - started
(back,) = vocabulary.decode(ids)
assert (back.codes == codes).all()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({
    "hours": row.duration / 3600, "ids": len(ids), "seconds": took, "peak": peak,
    "model": model.model_id.hex(), "torch": "torch" in sys.modules,
}))
"""


def write_long(folder: Path, target: Path, seconds: float) -> None:
    """The recordings of `folder` as FLAC at RATE, over and over, `seconds` long."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in READ_SUFFIXES)
    if not paths:
        sys.exit(f"error: no audio files in {folder}")
    left = round(seconds * RATE)
    with soundfile.SoundFile(target, "w", RATE, 1, "PCM_16", format="FLAC") as file:
        for path in itertools.cycle(paths):
            channels, rate = read_audio(path)
            audio = np.clip(resample(channels.mean(axis=0), rate, RATE), -1, 1)[:left]
            file.write(audio)
            left -= len(audio)
            if not left:
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hours", type=float, default=11.0)
    parser.add_argument("--codebooks", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "long.flac")
        started = time.monotonic()
        write_long(options.folder, path, 3600 * options.hours)
        print(f"written in {time.monotonic() - started:.0f} s", file=sys.stderr)
        command = [sys.executable, "-c", WORK, path, options.codebooks, TEXT_IDS]
        done = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout)
    print(f"Model {found['model']}; one thread; {machine()}\n")
    print("| hours | codebooks | ids in one sequence | seconds | x real time | peak memory, MB |")
    print("|--:|--:|--:|--:|--:|--:|")
    speed = 3600 * found["hours"] / found["seconds"]
    print(
        f"| {found['hours']:.2f} | {options.codebooks} | {found['ids']:,} | {found['seconds']:.0f} "
        f"| {speed:.0f} | {found['peak']:.0f} |"
    )


if __name__ == "__main__":
    main()
