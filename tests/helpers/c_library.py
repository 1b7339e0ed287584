"""Compiles parts of csrc/library for tests that look inside, which the installed library hides."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"
FOLDERS = ("common", "engine", "entropy", "kernels", "library", "rvq")
FLAGS = ("-std=c11", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Werror")
SANITIZED = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
GCC = shutil.which("gcc")


def sources(*folders: str) -> list[Path]:
    """Return the C files of `folders` of csrc, by default all that the library is made of."""
    return [path for name in folders or FOLDERS for path in sorted((CSRC / name).glob("*.c"))]


def compile_c(output: Path, files: Sequence[Path], *flags: str, compiler: str = "gcc") -> Path:
    """Compile and link `files` to `output`; -shared among the flags makes it a library."""
    command = [compiler, *FLAGS, *flags, f"-I{CSRC}", f"-I{CSRC / 'include'}", *map(str, files)]
    subprocess.run([*command, "-o", str(output), "-lm"], check=True)
    return output


def load_parts(folder: Path, *names: str) -> ctypes.CDLL:
    """Load the named files of csrc/library as a library whose every function is visible."""
    files = [CSRC / "library" / f"{name}.c" for name in names]
    return ctypes.CDLL(str(compile_c(folder / "parts.so", files, "-O1", "-shared", "-fPIC")))
