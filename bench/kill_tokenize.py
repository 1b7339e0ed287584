"""Kill `codec tokenize` with -9 at random moments; compare what comes out with an undisturbed run.

    python bench/kill_tokenize.py MANIFEST_OR_FOLDER... [--kills 10]

A moment is up to 0.3 s after a random shard is done. Prints the shards that differ; exits with 1
if one does.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--shard-items", type=int, default=4)
    parser.add_argument("--format", default="parquet")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)

    def start(out: Path) -> subprocess.Popen[bytes]:
        options = ["--format", arguments.format, "--shard-items", str(arguments.shard_items)]
        command = [sys.executable, "-m", "codec", "tokenize", *arguments.sources, "-o", str(out)]
        return subprocess.Popen([*command, *options, "-q"], stderr=subprocess.DEVNULL)

    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder, "whole"), Path(folder, "killed")
        begun = time.monotonic()
        if start(whole).wait():
            return 1
        seconds = time.monotonic() - begun
        print(f"undisturbed: {seconds:.1f} s, {len(hashes(whole))} files")
        total = len(list(whole.glob("journal/*.json")))
        targets = sorted(chance.sample(range(total), min(arguments.kills, total)))
        kills = 0
        while True:
            process = start(killed)
            delay = chance.uniform(0, 0.3)
            while kills < len(targets) and process.poll() is None:
                done = len(list(killed.glob("journal/*.json")))
                if done >= targets[kills]:
                    time.sleep(delay)
                    process.send_signal(signal.SIGKILL)
                    break
                time.sleep(0.002)
            if process.wait() == -signal.SIGKILL:
                kills += 1
                done = len(list(killed.glob("journal/*.json")))
                print(f"kill {kills}: {done} of {total} shards done")
            elif process.returncode:
                return 1
            else:
                break
        one, other = hashes(whole), hashes(killed)
        differing = sorted(name for name in one | other if one.get(name) != other.get(name))
        print(f"{kills} kills; {len(one)} files, differing: {differing or 'none'}")
        return 1 if differing else 0


def hashes(out: Path) -> dict[str, str]:
    files = [*(out / "data").iterdir(), out / "dataset.json", out / "rejects.jsonl"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


if __name__ == "__main__":
    sys.exit(main())
