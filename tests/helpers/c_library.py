"""Compiles csrc/library for tests: as it is used, and in parts that the installed library hides."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

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


def swapped(audio: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Turn [2, n] as Python has two channels to [n, 2] as C has them, or back; [n] stays so."""
    return np.ascontiguousarray(audio.T)


def binding() -> ModuleType:
    """Import examples/c/codec_ctypes.py."""
    name = "codec_ctypes"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / "c" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
