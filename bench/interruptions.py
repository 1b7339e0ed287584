"""Kill `codec tokenize` with SIGKILL at random moments, start it again, and compare the shards.

    python -m bench.interruptions FOLDER [--items 400] [--kills 10] [--ray]

The items are stretches of 20 s of the folder's files. An undisturbed run comes first; then one that
is killed --kills times, each time after a random share of what the first took, and started again.
With --ray, a third run on a Ray cluster of this machine, of which workers are killed one after
another while it goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile

from codec.audio import READ_SUFFIXES
from codec.benchmark.machine import machine

STRETCH = 20  # seconds


def start(manifest: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "codec", "tokenize", str(manifest), "-o", str(out)]
    shape = ["--format", "parquet", "--shard-items", "20", "-q"]
    return subprocess.Popen([*command, *shape, *options], stdout=subprocess.DEVNULL)


def digest(out: Path) -> str:
    """Of all that a run leaves, but for where its input lay and its lock."""
    digest = hashlib.sha256()
    for file in sorted(out.rglob("*")):
        if file.is_file() and file.name not in (".lock", "run.json"):
            digest.update(file.relative_to(out).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def kill_workers(run: subprocess.Popen[bytes], every: float) -> int:
    """Kills a Ray worker at work every so many seconds."""
    import psutil

    killed = 0
    due = time.monotonic() + every
    while run.poll() is None:
        time.sleep(0.05)
        if time.monotonic() < due:
            continue
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(run.pid).children(recursive=True):
                if "ray::" in (name := " ".join(process.cmdline())) and "Map" in name:
                    process.send_signal(signal.SIGKILL)
                    killed += 1
                    due = time.monotonic() + every
                    break
    return killed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--ray", action="store_true")
    options = parser.parse_args()
    found = sorted(f for f in options.folder.rglob("*") if f.suffix.lower() in READ_SUFFIXES)
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        manifest, out = Path(folder, "files.tsv"), Path(folder, "out")
        items = [
            f"{file.absolute()}\t{start}\t{STRETCH}"
            for file in found
            for start in range(0, int(soundfile.info(file).duration), STRETCH)
        ]
        items = sorted(rng.sample(items, min(options.items, len(items))))
        manifest.write_text("\n".join(["path\toffset\tduration", *items, ""]))
        began = time.monotonic()
        if start(manifest, out / "whole").wait():
            return 1
        took = time.monotonic() - began
        whole = digest(out / "whole")
        print(f"{len(items)} items, undisturbed: {took:.0f} s, {whole[:16]}. {machine()}")
        kills = 0
        while True:
            run = start(manifest, out / "killed")
            with contextlib.suppress(subprocess.TimeoutExpired):
                if kills < options.kills:
                    run.wait(rng.uniform(0.02, 1.2 / options.kills) * took)
                    break
                run.wait()
                break
            run.kill()
            run.wait()
            kills += 1
        same = digest(out / "killed") == whole
        print(f"killed {kills} times: {'the same bytes' if same else 'OTHER BYTES'}")
        if options.ray:
            run = start(manifest, out / "ray", "--executor", "ray")
            killed = kill_workers(run, took / 4)
            equal = run.returncode == 0 and digest(out / "ray") == whole
            print(f"Ray, {killed} workers killed: {'the same bytes' if equal else 'OTHER BYTES'}")
            same &= equal and killed > 0
    return not (same and kills)


if __name__ == "__main__":
    sys.exit(main())
