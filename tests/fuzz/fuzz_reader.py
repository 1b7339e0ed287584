"""Fuzzing of everything that reads a .nac file; `fuzz.replay` says what is checked.

    pip install atheris
    python -m tests.fuzz.fuzz_reader CORPUS -max_total_time=1800 -rss_limit_mb=2048

CORPUS is a folder that is filled on first use with sound and hostile files, and that the fuzzer
adds to. Nothing may allocate more than 64 MB either. What broke is written to a file crash-*;
`python -m tests.fuzz.fuzz_reader crash-*` shows it again.
"""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["codec"]):
    from tests.fuzz.replay import replay, seed

MOST_BYTES = 64 << 20


def one(data: bytes) -> None:
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    replay(data)
    assert tracemalloc.get_traced_memory()[1] - before < MOST_BYTES


def main() -> None:
    """Fuzz until the time is over or something breaks; libFuzzer reads the arguments."""
    if not Path(sys.argv[1]).is_file():
        seed(Path(sys.argv[1]))
    tracemalloc.start()
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
