"""Measure `codec tokenize` on FLAC against the engine's one-thread encode; memory over a run.

    python -m bench.corpus FOLDER_OF_FLAC [--repeats 6]

Both are timed in turn, three times, in one process on the same audio; the medians are compared.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import codec
from codec.audio import read_audio, resample
from codec.corpus import run as corpus_run
from codec.corpus.executors import threads
from codec.corpus.rows import Settings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=6, help="Copies of each file in a run.")
    arguments = parser.parse_args()
    model = codec.load(backend="native")
    cores, rate = len(os.sched_getaffinity(0)), model.config.sample_rate
    files = sorted(arguments.folder.rglob("*.flac"))
    audio = []
    for file in files:
        channels, own = read_audio(file)
        audio += [resample(channel, own, rate) for channel in channels]
    seconds = sum(map(len, audio)) / rate
    model.backend.encode(audio[0], model.config.n_codebooks)  # warm
    encode, tokenize, resident = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in")
        source.mkdir()
        for i in range(arguments.repeats):
            for j, file in enumerate(files):
                shutil.copy(file, source / f"{i}_{j}.flac")
        write_shard = corpus_run._write_shard

        def watched(*args: object) -> None:
            write_shard(*args)  # type: ignore[arg-type]
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            resident.append(pages * os.sysconf("SC_PAGESIZE") / 2**20)

        corpus_run._write_shard = watched  # type: ignore[assignment]
        for i in range(3):
            start = time.perf_counter()
            for channel in audio:
                model.backend.encode(channel, model.config.n_codebooks)
            encode.append(seconds / (time.perf_counter() - start))
            start = time.perf_counter()
            settings = Settings(model.config.n_codebooks)
            corpus = corpus_run.Corpus(
                model, [str(source)], Path(folder, f"out{i}"), settings, "bin", shard_items=20
            )
            corpus_run.run(corpus, threads(cores))
            tokenize.append(arguments.repeats * seconds / (time.perf_counter() - start))
    one, all_ = statistics.median(encode), statistics.median(tokenize)
    for name, runs in (("encode, 1 thread", encode), (f"tokenize, {cores} threads", tokenize)):
        each = ", ".join(f"{run:.0f}" for run in runs)
        print(f"{name}: {statistics.median(runs):.1f} x real time ({each})")
    print(f"tokenize / (cores x encode): {all_ / (cores * one):.2f}")
    parts = np.array_split(np.array(resident), 6)
    print("MiB resident, sixths of all runs:", *(f"{part.max():.0f}" for part in parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
