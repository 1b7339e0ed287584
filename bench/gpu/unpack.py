"""Copy folders of training audio into one, where they stay when the checkout is replaced.

    python -m bench.gpu.unpack FOLDER... TARGET

A machine may take only so much in one call: each call brings a folder, and the last one trains.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("target", type=Path)
    given = parser.parse_args()
    for folder in given.folders:
        shutil.copytree(folder, given.target, dirs_exist_ok=True)
    files = [path for path in given.target.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(f"{len(files)} files, {size / 1e6:.1f} MB of audio in {given.target}")


if __name__ == "__main__":
    main()
