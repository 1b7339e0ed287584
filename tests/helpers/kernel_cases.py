"""Vectors, codebooks, clips and mel spectrograms on which kernels are compared."""

from __future__ import annotations

import dataclasses

import numpy as np

from codec import mel
from codec.mel import MelSpec

SPECS = {
    "whisper": mel.WHISPER_80,
    "whisper-128": mel.WHISPER_128,
    "speech-40hz": mel.find_spec("speech-40hz"),
    "torchaudio": MelSpec.torchaudio(16_000),
    "librosa": MelSpec.librosa(22_050),
    "magnitudes": MelSpec.torchaudio(16_000, power=1),
    "mel": dataclasses.replace(mel.WHISPER_80, log=None),
    "running": dataclasses.replace(mel.WHISPER_80, maximum="running"),
    "fixed": dataclasses.replace(mel.WHISPER_80, maximum=1.5),
    "no range": dataclasses.replace(mel.WHISPER_80, dynamic_range=None),
}
# Every split (16, 8, 4, 2, 1), with twiddles and without, and every radix last.
LENGTHS = [3, 4, 6, 8, 10, 16, 20, 24, 27, 40, 48, 64, 72, 75, 96, 160, 256, 450, 480, 1000, 4096]


def case(n: int, q: int, k: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw vectors [n, d], and q codebooks of k words [q, k, d] that shrink from level to level."""
    rng = np.random.default_rng(seed)
    scale = 0.7 ** np.arange(q, dtype=np.float32)[:, None, None]
    return rng.standard_normal((n, d), np.float32), (
        rng.standard_normal((q, k, d), np.float32) * scale
    )


def clips_of(n: int, seed: int = 0) -> np.ndarray:
    """Draw noise that fades, a loud clip and a quiet one: float32 [2, n]."""
    rng = np.random.default_rng(seed)
    envelope = np.exp(-np.linspace(0, 12, n)).astype(np.float32)  # so that the range cuts
    return rng.standard_normal((2, n), np.float32) * envelope * np.float32([[1], [0.01]])
