"""A network and a training run small enough for tests of either."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from codec.model.config import ModelConfig
from codec.training.config import TrainConfig
from codec.training.prepare import AUDIO_NAME, AudioEntry, PreparedAudio

MODEL = ModelConfig(
    hop_length=480,
    backbone_hop=240,
    long_fft=480,
    synthesis_fft=240,
    synthesis_hop=120,
    n_codebooks=4,
    codebook_size=16,
    latent_dim=8,
    phase_bins=16,
    encoder_dim=16,
    encoder_blocks=2,
    decoder_dim=16,
    decoder_blocks=2,
)

# Small in every way, and with every part at work within a few steps.
TRAINING = TrainConfig(
    model=MODEL,
    batch_size=2,
    crop_samples=3840,
    fit_crops=4,
    quantise_from=2,
    kmeans_frames=100,
    kmeans_iterations=2,
    adversarial_from=3,
    adversarial_warmup=4,
    critics="1x1024+3x512+6x256",
    critic_channels=2,
    critic_crops=1,
    warmup_steps=2,
    precision="float32",
    step="eager",
    compile="off",
    log_steps=2,
)


def chirps(samples: int, seed: int = 0) -> np.ndarray:
    """Audio with pitch, harmonics, noise and pauses; float32 [samples] within ±1."""
    random = np.random.default_rng(seed)
    time = np.arange(samples) / 24_000
    pitch = 2 * np.pi * np.cumsum(150 + 60 * np.sin(2 * np.pi * 1.3 * time + seed)) / 24_000
    voice = sum(np.sin(k * pitch) / k for k in range(1, 12))
    envelope = np.clip(np.sin(2 * np.pi * 2.1 * time), 0, 1)
    return (0.2 * envelope * voice + 0.01 * random.standard_normal(samples)).astype(np.float32)


def prepared(folder: Path) -> PreparedAudio:
    """Six seconds in two files, as if they had been prepared."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [np.rint(chirps(72_000, seed) * 32767).astype("<i2") for seed in range(2)]
    np.concatenate(files).tofile(folder / AUDIO_NAME)
    entries = [
        AudioEntry(f"speech/{i}.wav", "speech", 72_000 * i, 72_000, 24_000, 1, True, 0.9, 0.1)
        for i in range(2)
    ]
    return PreparedAudio(folder, 24_000, tuple(entries), (), "fingerprint")
