"""Enhancers with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save

from codec.model.enhancer_config import EnhancerConfig

TINY = EnhancerConfig(bands=4, wide=40, narrow=20, dim=24, hidden=40, blocks=2, lookahead=1)


def tensors(config: EnhancerConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw the weights of an enhancer that changes what it hears a lot."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32)

    dim, hidden = config.dim, config.hidden
    found = {
        "embed.weight": drawn(dim, config.features),
        "embed.bias": drawn(dim),
        "norm.weight": 1 + drawn(dim),
        "norm.bias": drawn(dim),
        f"backbone.{config.blocks}.weight": 1 + drawn(dim),
        f"backbone.{config.blocks}.bias": drawn(dim),
        "factors.weight": drawn(config.factors, dim),
        "factors.bias": drawn(config.factors),
    }
    for i in range(config.blocks):
        found |= {
            f"backbone.{i}.conv.weight": drawn(config.kernel_size, dim),
            f"backbone.{i}.conv.bias": drawn(dim),
            f"backbone.{i}.norm.weight": 1 + drawn(dim),
            f"backbone.{i}.norm.bias": drawn(dim),
            f"backbone.{i}.expand.weight": drawn(hidden, dim),
            f"backbone.{i}.expand.bias": drawn(hidden),
            f"backbone.{i}.reduce.weight": drawn(dim, hidden),
            f"backbone.{i}.scale": drawn(dim),
        }
    return found


def enhancer_file(config: EnhancerConfig, model_id: bytes = bytes(8), seed: int = 0) -> bytes:
    """Return the file of such an enhancer."""
    metadata = {"config": config.to_json(), "model": model_id.hex()}
    return save(tensors(config, seed), metadata=metadata)


def write_enhancer(weights: Path, model_id: bytes, config: EnhancerConfig = TINY) -> Path:
    """Write one beside the weights of a model."""
    path = weights.with_suffix(".enhancer")
    path.write_bytes(enhancer_file(config, model_id))
    return path
