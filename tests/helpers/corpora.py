"""What corpora are made of, and what is compared of them."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import soundfile


def sound(seed: int, samples: int = 4800, format_: str = "FLAC") -> bytes:
    """Make an audio file of noise."""
    file = io.BytesIO()
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, samples)
    soundfile.write(file, noise, 24_000, format=format_)
    return file.getvalue()


def tar_of(members: dict[str, bytes]) -> bytes:
    """Pack the members into a tar."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def shards(out: Path) -> dict[str, str]:
    """Hash every shard of a run, by name."""
    files = sorted((out / "data").iterdir())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
