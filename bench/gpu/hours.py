"""Hours of FLAC through `codec tokenize --device cuda`: times real time, and what limited it.

    python -m bench.gpu.hours AUDIO_FOLDER --work FOLDER [--hours 10] [--device cuda] [--rate 24000]

1. Makes the corpus: FLAC files of a minute, cut from the recordings one after the other, each time
   around from another offset, so that no two files are alike.
2. Compares a few of them first: the shards of `--device cuda` must be byte for byte the CPU's.
3. Reads all of them on all cores without a network, as `codec tokenize` reads: what it cannot be
   faster than.
4. Runs the command, start and imports included, and says how busy the cores and the GPU were.

Ends with status 1 if a shard differs or the command fails.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from codec.audio.reader import read_audio
from codec.audio.resample import resample_blocks
from codec.support.workers import Workers, usable_cores

Audio = np.ndarray[Any, np.dtype[np.float32]]
CLIP_SECONDS = 60
BUSY = 0.85  # share of the cores, or of the GPU, from which on it is what limits
KINDS = (".flac", ".wav", ".opus", ".ogg", ".mp3")


def recording(folder: Path, rate: int, most: float) -> Audio:
    """The first channel of all recordings below, one after the other, at most `most` seconds."""
    parts: list[Audio] = []
    left = int(most * rate)
    for path in sorted(path for path in folder.rglob("*") if path.suffix in KINDS):
        if left <= 0:
            break
        audio, own = read_audio(path)
        blocks = resample_blocks([np.ascontiguousarray(audio[:1])], own, rate)
        parts.append(np.concatenate(list(blocks), axis=1)[0][:left])
        left -= len(parts[-1])
    if not parts:
        raise SystemExit(f"{folder} has no recordings")
    return np.concatenate(parts)


def clips(source: Audio, count: int, length: int) -> Iterator[Audio]:
    """Cut `count` clips of `length` samples from `source`, end to end and around, each time from an
    offset that is no multiple of `length`."""
    doubled = np.resize(source, len(source) + length)
    at = 0
    for _ in range(count):
        yield doubled[at : at + length]
        at += length
        if at >= len(source):
            at = (at + length // 7 + 1) % len(source)


def make(folder: Path, source: Audio, count: int, length: int, rate: int) -> None:
    """Write the clips as FLAC of 16 bits, on all cores."""
    folder.mkdir(parents=True)

    def put(number: int, clip: Audio) -> None:
        path = folder / f"{number // 1000:03d}" / f"{number:06d}.flac"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, clip, rate, subtype="PCM_16")

    with Workers(usable_cores()) as workers:
        calls = enumerate(clips(source, count, length))
        for _ in workers.run(lambda n=number, c=clip: put(n, c) for number, clip in calls):
            pass


def read_all(folder: Path, rate: int) -> None:
    """Read and resample every file on all cores."""

    def read(path: Path) -> int:
        audio, own = read_audio(path)
        return sum(block.shape[1] for block in resample_blocks([audio], own, rate))

    with Workers(usable_cores()) as workers:
        for _ in workers.run(lambda p=path: read(p) for path in sorted(folder.rglob("*.flac"))):
            pass


class GpuUse:
    """The share of the time in which the GPU works, by nvidia-smi, five times a second."""

    def __enter__(self) -> GpuUse:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        try:
            self._child: subprocess.Popen[str] | None = subprocess.Popen(
                [*query, "-lms", "200"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except OSError:
            self._child = None
        return self

    def __exit__(self, *error: object) -> None:
        self.share: float | None = None
        if self._child is None:
            return
        self._child.terminate()
        text = self._child.communicate()[0]
        found = [int(word) for word in text.split() if word.isdigit()]
        self.share = sum(found) / len(found) / 100 if found else None


def tokenize(folder: Path, out: Path, device: str, model: str) -> None:
    """Run the command on a folder. Raises CalledProcessError."""
    given = [str(folder), "-o", str(out), "--format", "bin", "--quiet", "--device", device]
    command = [sys.executable, "-m", "codec", "tokenize", *given, "--model", model]
    subprocess.run(command, check=True)


def shards(folder: Path) -> dict[str, bytes]:
    data = folder / "data"
    files = [path for path in sorted(data.rglob("*")) if path.is_file()]
    return {str(path.relative_to(data)): path.read_bytes() for path in files}


def limit(cores: float, gpu: float | None) -> str:
    """Say what was busy the whole time."""
    if cores >= BUSY:
        return "the CPU's cores"
    if gpu is not None and gpu >= BUSY:
        return "the GPU"
    return "neither the cores nor the GPU: threads that wait for each other, or the disk"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=24_000, help="of the files (default 24000)")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--clip", type=float, default=CLIP_SECONDS, help="seconds (default 60)")
    parser.add_argument("--model", default="default", help="as codec tokenize takes it")
    given = parser.parse_args()
    corpus, few = given.work / "corpus", given.work / "few"
    length, hours = int(given.clip * given.rate), given.hours
    count = max(1, round(hours * 3600 / given.clip))
    seconds = count * length / given.rate
    shutil.rmtree(given.work, ignore_errors=True)
    try:
        begun = time.perf_counter()
        source = recording(given.folder, given.rate, 3600.0)
        make(corpus, source, count, length, given.rate)
        made = time.perf_counter() - begun
        size = sum(path.stat().st_size for path in corpus.rglob("*.flac")) / 1e9
        print(f"{count} files, {seconds / 3600:.2f} hours, {size:.2f} GB at {given.rate} Hz")
        source_seconds = len(source) / given.rate
        print(f"made in {made:.0f} s from {source_seconds:.0f} s of recordings", flush=True)

        few.mkdir()
        for path in sorted(corpus.rglob("*.flac"))[:3]:
            shutil.copy(path, few)
        for device in ("cpu", given.device):
            tokenize(few, given.work / f"few-{device}", device, given.model)
        ours, theirs = (shards(given.work / f"few-{device}") for device in (given.device, "cpu"))
        same = ours == theirs and len(ours) > 0
        said = "the same bytes as the CPU's" if same else "NOT the same bytes as the CPU's"
        print(f"shards of 3 files: {said}", flush=True)

        begun = time.perf_counter()
        read_all(corpus, 24_000)
        read = time.perf_counter() - begun
        print(f"reading alone: {read:.1f} s, {seconds / read:,.0f} x real time", flush=True)

        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        with GpuUse() as gpu:
            tokenize(corpus, given.work / "out", given.device, given.model)
        taken = time.perf_counter() - begun
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        cores = worked / taken / usable_cores()
        busy = "unknown" if gpu.share is None else f"{gpu.share:.0%}"
        print(f"codec tokenize --device {given.device}: {taken:.1f} s")
        print(f"cores {cores:.0%} busy ({usable_cores()}), GPU {busy}: the limit was", end=" ")
        print(limit(cores, gpu.share))
        print(f"{seconds / 3600:.2f} hours at {seconds / taken:,.0f} x real time", flush=True)
        return 0 if same else 1
    finally:
        shutil.rmtree(given.work, ignore_errors=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
