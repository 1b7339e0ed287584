"""Random weights for the engine's tests, in the file format that `codec export` writes."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from codec.model import codebooks
from codec.model.config import ModelConfig

# As small as a model with every part can be; dimensions that are no multiple of a vector.
SMALL = ModelConfig(
    n_codebooks=3,
    codebook_size=50,
    latent_dim=20,
    encoder_dim=24,
    encoder_hidden=48,
    encoder_blocks=2,
    decoder_dim=40,
    decoder_hidden=72,
    decoder_blocks=2,
)

# Frames gathered and stacked, layers that look ahead, samples as features, other transforms.
VARIANTS = {
    "small": SMALL,
    "gathered": dataclasses.replace(SMALL, encoder_stack=1, hop_length=960, waveform=True),
    "ahead": dataclasses.replace(
        SMALL,
        encoder_lookahead=1,
        decoder_lookahead=2,
        noise_from=0,
        hop_length=1920,
        kernel_size=5,
    ),
    "transforms": dataclasses.replace(
        SMALL,
        encoder_stack=1,
        hop_length=480,
        synthesis_fft=480,
        synthesis_hop=160,
        long_fft=1200,
        short_fft=96,
        phase_bins=0,
        gain_bands=7,
        noise_from=12_001,
    ),
}


def uneven(config: ModelConfig) -> ModelConfig:
    """Change the lengths of `config` to some that `--refine` has no windows for."""
    return dataclasses.replace(
        config,
        encoder_stack=1,
        backbone_hop=300,
        hop_length=300,
        long_fft=900,
        short_fft=150,
        phase_bins=0,
        synthesis_fft=200,
        synthesis_hop=100,
    )


# Two channels together at 48 kHz: all lengths in samples are twice those of 24 kHz.
STEREO = dataclasses.replace(
    SMALL,
    sample_rate=48_000,
    channels=2,
    hop_length=1920,
    backbone_hop=960,
    long_fft=1920,
    short_fft=480,
    synthesis_fft=1920,
    synthesis_hop=480,
    encoder_lookahead=1,
    decoder_lookahead=1,
)


class Steady:
    """Draws numbers that are nearly normal, the same on every machine and by every NumPy.

    Only the integers of a bit generator are promised to stay. Of twelve uniform ones the sum less
    its mean has the variance 1 (Irwin-Hall), and is exact in float64.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def standard_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        words = self._bits.random_raw(3 * math.prod(shape)).astype("<u8")
        parts = words.view("<u2").reshape(*shape, 12).astype(np.int64)
        return (parts.sum(-1) - 12 * 32_768) / 65_536


def random_weights(
    config: ModelConfig, seed: int = 0, rng: Steady | None = None
) -> dict[str, np.ndarray]:
    """Tensors float16 and codewords int8, scaled so that activations keep their size.

    rng: what draws them, in place of NumPy's generator for `seed`.
    """
    draw = (rng or np.random.default_rng(seed)).standard_normal
    tensors: dict[str, np.ndarray] = {}

    def put(name: str, *shape: int, std: float = 1.0, mean: float = 0.0) -> None:
        tensors[name] = (mean + std * draw(shape)).astype(np.float16)

    def linear(name: str, rows: int, columns: int, bias: bool = True, std: float = 1.0) -> None:
        put(f"{name}.weight", rows, columns, std=std / columns**0.5)
        if bias:
            put(f"{name}.bias", rows, std=0.1)

    def backbone(name: str, dim: int, hidden: int, blocks: int) -> None:
        for i in range(blocks):
            put(f"{name}.{i}.conv.weight", config.kernel_size, dim, std=config.kernel_size**-0.5)
            put(f"{name}.{i}.conv.bias", dim, std=0.1)
            put(f"{name}.{i}.norm.weight", dim, std=0.1, mean=1)
            put(f"{name}.{i}.norm.bias", dim, std=0.1)
            linear(f"{name}.{i}.expand", hidden, dim)
            linear(f"{name}.{i}.reduce", dim, hidden, bias=False)
            put(f"{name}.{i}.scale", dim, std=0.1, mean=0.3)
        put(f"{name}.{blocks}.weight", dim, std=0.1, mean=1)
        put(f"{name}.{blocks}.bias", dim, std=0.1)

    bins, short_bins = config.long_fft // 2 + 1, config.short_fft // 2 + 1
    per_frame = config.backbone_hop // (config.short_fft // 2)
    size = bins + per_frame * short_bins + 2 * config.phase_bins + config.long_fft * config.waveform
    each = (size,) if config.channels == 1 else (config.channels, size)
    put("encoder.front.mean", *each, std=1)
    put("encoder.front.scale", *each, std=0.05, mean=0.3)
    seen = config.channels * size * config.encoder_stack
    linear("encoder.embed", config.encoder_dim, seen)
    backbone("encoder.backbone", config.encoder_dim, config.encoder_hidden, config.encoder_blocks)
    stack = config.hop_length // (config.backbone_hop * config.encoder_stack)
    linear("encoder.project", config.latent_dim, config.encoder_dim * stack)
    books = draw((config.n_codebooks, config.codebook_size, config.latent_dim))
    packed = codebooks.pack(books.astype(np.float32))
    tensors["quantiser.codewords"], tensors["quantiser.scales"] = packed
    stack = config.hop_length // config.backbone_hop
    linear("decoder.embed", config.decoder_dim * stack, config.latent_dim)
    backbone("decoder.backbone", config.decoder_dim, config.decoder_hidden, config.decoder_blocks)
    spectra = config.channels * (config.backbone_hop // config.synthesis_hop)
    bins = config.synthesis_fft // 2 + 1
    linear("decoder.head.gain", spectra * config.gain_bands, config.decoder_dim)
    linear("decoder.head.shape", spectra * bins * 2, config.decoder_dim)
    return tensors


def write_weights(
    path: Path, config: ModelConfig, seed: int = 0, rng: Steady | None = None
) -> Path:
    save_file(random_weights(config, seed, rng), path, metadata={"config": config.to_json()})
    return path


def noise(n: int, seed: int = 0) -> np.ndarray:
    """Noise float32 [n] whose loudness rises and falls over 80 dB every 0.4 s."""
    rng = np.random.default_rng(seed)
    level = 10 ** (-2.5 + 2 * np.sin(np.arange(n) * (2 * np.pi / 9600)))
    return (rng.standard_normal(n) * level).astype(np.float32)


def signal(config: ModelConfig, n: int, seed: int = 0) -> np.ndarray:
    """`noise` as a model takes it: float32 [n], or [2, n] whose channels have much in common."""
    if config.channels == 1:
        return noise(n, seed)
    common, left, right = (noise(n, seed + 1000 * i) for i in range(3))
    return np.stack([common + 0.3 * left, common + 0.3 * right])


def fill_codebooks(module: Any) -> None:
    """Draw the codewords that transformers leaves at 0, where all codes would be 0."""
    import torch

    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        for name in ("embed_sum", "embed"):  # Mimi's sum over its usage of 1; EnCodec's
            buffer = dict(part.named_buffers(recurse=False)).get(name)
            if buffer is not None:
                drawn = torch.randn(buffer.shape, generator=generator)
                buffer.copy_(0.1 * drawn.to(buffer))
