"""Python code in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python(code: str, *args: object) -> str:
    """Run `code` with `args` in a new Python, in the root of the repository; return its output."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def python_with_sanitizers(code: str, *args: object, **environment: str) -> None:
    """Run `code`, which loads a library with sanitizers; the test is skipped without libasan."""
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("needs gcc")
    runtime = subprocess.run(
        [gcc, "-print-file-name=libasan.so"], check=True, capture_output=True, text=True
    ).stdout.strip()
    if not Path(runtime).is_absolute():
        pytest.skip("needs libasan")
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        cwd=ROOT,
        env=os.environ
        | {
            "LD_PRELOAD": runtime,
            "ASAN_OPTIONS": "detect_leaks=0",  # Python itself never frees everything
            "UBSAN_OPTIONS": "halt_on_error=1",
        }
        | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
