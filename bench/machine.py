"""What the numbers in bench/ were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine() -> str:
    """The processor's name and its number of logical cores."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    return f"{name}, {os.cpu_count()} cores"
