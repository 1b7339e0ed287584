"""Check on whole recordings that examples/c/nac.c makes the files of `codec`, byte for byte.

    python -m bench.c_command EVAL_DIR --nac build/nac [--runner qemu-aarch64] [--way NAME ...]
        [--every N [--first K]]

Every clip becomes a WAV of 16 bits at 24 kHz. `nac compress` and `codec compress` make files of it
with each coder, `nac decompress` and `codec decompress` restore them. What is printed are the
numbers of clips, files and bytes compared and of the files that differ; the exit code is 1 if one
does. An emulator is a hundred times slower: --way chooses among the ways, --every and --first cut
the clips into parts, and Ctrl-C (or `timeout -s INT`) ends the run with the numbers so far.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from tqdm import tqdm

import codec
from bench.clips import SAMPLE_RATE, read_clips
from codec.benchmark.machine import machine
from codec.engine.post import Wanted
from codec.engine.refine import PLAIN, Search
from codec.files.plan import Job
from codec.files.transcode import Coding, Task, compress_file, decompress_file
from codec.model.location import DEFAULT_WEIGHTS
from codec.support.workers import Workers


class Way(NamedTuple):
    """Options of `nac compress`, and what they are in Python; and what improves the audio then."""

    options: str = ""
    codebooks: int | None = None
    effort: str | None = None
    search: Search = PLAIN
    post: Wanted | None = None


WAYS = {
    "default": Way(post="usual"),
    "best, 8 codebooks": Way("-n 8 --effort best", 8, "best"),
    "raw, 8 codebooks": Way("-b 2 --effort raw", 8, "raw"),
    "8 paths, 8 codebooks": Way("-n 8 --beam 8", 8, search=Search(8)),
    "5 steps, 8 paths, 8 codebooks": Way("-n 8 --beam 8 --refine 5", 8, search=Search(8, 5)),
    "postfilter, 8 codebooks": Way("-n 8", 8, post="postfilter"),
    "enhance, 8 codebooks": Way("-n 8", 8, post="enhancer"),
}
RESTORING: dict[Wanted | None, list[str]] = {
    None: ["--no-enhance"],
    "postfilter": ["--postfilter"],
    "enhancer": ["--enhance"],
    "usual": [],
}


class Bench:
    """Compresses and restores one WAV with both. nac: the words that run the command."""

    def __init__(self, nac: list[str], weights: Path, folder: Path) -> None:
        self._nac, self._weights, self._folder = nac, weights, folder
        self._pipeline = codec.load(weights).pipeline
        self.bytes = self.files = self.clips = self.differing = 0

    def compare(self, wav: Path, way: Way) -> None:
        mine, other = self._folder / "mine", self._folder / "other"
        nac_mine, nac_other = mine.with_suffix(".nac"), other.with_suffix(".nac")
        wav_mine, wav_other = mine.with_suffix(".wav"), other.with_suffix(".wav")
        self._run("compress", *way.options.split(), wav, nac_mine)
        coding = Coding(self._pipeline.n_codebooks(way.codebooks), way.effort, search=way.search)
        compress_file(self._task(wav, nac_other), coding)
        self._run("decompress", *RESTORING[way.post], nac_mine, wav_mine)
        decompress_file(self._task(nac_other, wav_other), ".wav", post=way.post)
        for one, two in ((nac_mine, nac_other), (wav_mine, wav_other)):
            data = two.read_bytes()
            self.files += 1
            self.bytes += len(data)
            self.differing += one.read_bytes() != data
        self.clips += 1

    def _run(self, command: str, *words: str | Path) -> None:
        call = [*self._nac, command, "-f", "-m", self._weights, *words]
        subprocess.run(call, check=True)

    def _task(self, source: Path, target: Path) -> Task:
        return Task(self._pipeline, Job(source, target), Workers(), lambda *_: None, True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare nac.c with codec on recordings.")
    parser.add_argument("clips", type=Path)
    parser.add_argument("--nac", type=Path, required=True)
    parser.add_argument("--runner", default="", help="what runs the command")
    parser.add_argument("--weights", type=Path, default=DEFAULT_WEIGHTS)
    parser.add_argument("--every", type=int, default=1, help="use every N-th clip only")
    parser.add_argument("--first", type=int, default=0, help="the clip to begin with, from 0")
    parser.add_argument(
        "--way", choices=WAYS, action="append", help="one of the ways only; repeats"
    )
    options = parser.parse_args()
    clips = read_clips(options.clips)[options.first :: options.every]
    command = [*shlex.split(options.runner), str(options.nac)]
    seconds = sum(len(clip.audio) for clip in clips) / SAMPLE_RATE
    print(f"{len(clips)} clips, {seconds:.0f} s; {machine()}")
    failed = False
    print("| way | clips | files | bytes | differ |\n|---|--:|--:|--:|--:|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for way in options.way or WAYS:
            bench = Bench(command, options.weights, folder)
            stopped = False
            try:
                for clip in tqdm(clips, way, disable=None):
                    wav = folder / "clip.wav"
                    soundfile.write(wav, np.clip(clip.audio, -1, 1), SAMPLE_RATE, subtype="PCM_16")
                    bench.compare(wav, WAYS[way])
            except KeyboardInterrupt:
                stopped = True
            numbers = f"{bench.clips} | {bench.files} | {bench.bytes:,} | {bench.differing}"
            print(f"| {way} | {numbers} |", flush=True)
            failed |= bench.differing > 0
            if stopped:
                break
    sys.exit(failed)


if __name__ == "__main__":
    main()
