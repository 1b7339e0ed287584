"""Describe the machine and the packages that numbers were measured with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

PACKAGES = (
    "codec", "numpy", "soxr", "soundfile", "torch", "pesq", "pystoi", "visqol-python", "auraloss",
    "speechmos", "distillmos", "librosa", "pocketsphinx", "resemblyzer", "ai-edge-litert",
    "transformers",
)  # fmt: skip


def machine() -> str:
    """Return the name of the processor and its number of logical cores."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    return f"{name}, {os.cpu_count()} cores"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
