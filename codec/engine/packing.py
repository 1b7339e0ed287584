"""Packs a model's weights into the two halves of the native engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.engine import _engine
from codec.engine import tables as engine_tables
from codec.model.config import ModelConfig
from codec.model.weights_file import Tensors, WeightsFile

Floats = npt.NDArray[np.float32]
Weights = Mapping[str, Any]


def pack_encoder(weights: WeightsFile, isa: str | None, block: int) -> _engine.Encoder:
    """Pack the encoder's half of the network. Raises ModelError."""
    books, config = weights.codebooks, weights.config

    def pack(tensors: Tensors) -> _engine.Encoder:
        tables, packed = encoder_parts(tensors, config, books)
        return _engine.Encoder(config, tables, packed, isa, block)

    return weights.read(pack)


def pack_decoder(weights: WeightsFile, isa: str | None, block: int) -> _engine.Decoder:
    """Pack the decoder's half of the network. Raises ModelError."""
    books, config = weights.codebooks, weights.config

    def pack(tensors: Tensors) -> _engine.Decoder:
        tables, packed = decoder_parts(tensors, config, books)
        return _engine.Decoder(config, tables, packed, isa, block)

    return weights.read(pack)


def encoder_parts(tensors: Tensors, config: ModelConfig, books: Floats) -> tuple[Weights, Weights]:
    tables = {
        "long_fft": engine_tables.fft_tables(config.long_fft),
        "short_fft": engine_tables.fft_tables(config.short_fft),
        "long_window": engine_tables.hann(config.long_fft),
        "short_window": engine_tables.hann(config.short_fft),
    }
    project = _linear(tensors, "encoder.project")
    stack = config.hop_length // (config.backbone_hop * config.encoder_stack)
    weights = {
        "mean": tensors["encoder.front.mean"],
        "scale": tensors["encoder.front.scale"],
        "embed": _linear(tensors, "encoder.embed"),
        "body": _backbone(tensors, "encoder.backbone", config.encoder_blocks),
        "project": {
            "weight": _padded_columns(project["weight"], stack, config.encoder_dim),
            "bias": project["bias"],
        },
        "codebooks": books,
    }
    return tables, weights


def decoder_parts(tensors: Tensors, config: ModelConfig, books: Floats) -> tuple[Weights, Weights]:
    fft = engine_tables.fft_tables(config.synthesis_fft)
    band, lower, upper = engine_tables.band_weights(
        config.gain_bands, config.synthesis_fft, config.sample_rate
    )
    tables = {
        "fft": fft,
        "window": engine_tables.synthesis_window(config.synthesis_fft, config.synthesis_hop),
        "band": band,
        "lower": lower,
        "upper": upper,
        "noise_bin": -(-config.noise_from * config.synthesis_fft // config.sample_rate),
    }
    embed = _linear(tensors, "decoder.embed")
    stack = config.hop_length // config.backbone_hop
    weights = {
        "codebooks": books,
        "embed": {
            "weight": _padded_columns(embed["weight"].T, stack, config.decoder_dim).T,
            "bias": _padded_columns(embed["bias"][None], stack, config.decoder_dim)[0],
        },
        "body": _backbone(tensors, "decoder.backbone", config.decoder_blocks),
        "gain": _linear(tensors, "decoder.head.gain"),
        "shape": _linear(tensors, "decoder.head.shape"),
    }
    return tables, weights


def _linear(tensors: Tensors, name: str) -> Weights:
    return {part: tensors[f"{name}.{part}"] for part in ("weight", "bias")}


def _backbone(tensors: Tensors, name: str, n_blocks: int) -> Weights:
    blocks = []
    for i in range(n_blocks):
        block = f"{name}.{i}"
        # each row of `reduce` makes one channel, which the block then scales
        reduce = tensors[f"{block}.reduce.weight"] * tensors[f"{block}.scale"][:, None]
        parts = {part: _linear(tensors, f"{block}.{part}") for part in ("conv", "norm", "expand")}
        blocks.append({**parts, "reduce": {"weight": reduce}})
    return {"blocks": blocks, "norm": _linear(tensors, f"{name}.{n_blocks}")}


def _padded_columns(matrix: Floats, groups: int, dim: int) -> Floats:
    """Fill each group of [rows, groups * dim] with zeros to a multiple of the engine's panel.

    So wide are the engine's frames, which lie in the groups.
    """
    width = -(-dim // _engine.PANEL_WIDTH) * _engine.PANEL_WIDTH
    padded = np.zeros((len(matrix), groups, width), np.float32)
    padded[:, :, :dim] = matrix.reshape(len(matrix), groups, dim)
    return padded.reshape(len(matrix), groups * width)
