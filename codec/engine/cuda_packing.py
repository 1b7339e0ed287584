"""Packs a model's weights as csrc/cuda/engine.h takes them: sizes, one array of integers, one of
floats."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from codec.engine.packing import decoder_parts, encoder_parts
from codec.model.config import ModelConfig
from codec.model.weights_file import Tensors, WeightsFile

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

PANEL, COLUMNS = 16, 128  # to which vectors and matrices are filled up


class FftSizes(ctypes.Structure):
    """nac_cuda_fft_sizes."""

    _fields_ = [(name, ctypes.c_int64) for name in ("n", "steps")]


class BodySizes(ctypes.Structure):
    """nac_cuda_body_sizes."""

    _fields_ = [(name, ctypes.c_int64) for name in ("dim", "hidden", "blocks", "taps", "lookahead")]


class EncoderSizes(ctypes.Structure):
    """nac_cuda_encoder_sizes."""

    _fields_ = [
        ("long_fft", FftSizes),
        ("short_fft", FftSizes),
        *((name, ctypes.c_int64) for name in ("hop", "per_frame", "phase_bins", "waveform")),
        *((name, ctypes.c_int64) for name in ("gather", "stack")),
        ("body", BodySizes),
        *((name, ctypes.c_int64) for name in ("levels", "codewords", "latent")),
    ]


class DecoderSizes(ctypes.Structure):
    """nac_cuda_decoder_sizes."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("levels", "codewords", "latent", "stack")),
        ("body", BodySizes),
        ("fft", FftSizes),
        *((name, ctypes.c_int64) for name in ("hop", "per_frame", "bands", "noise_bin")),
    ]


@dataclasses.dataclass(frozen=True)
class Packed:
    """The first arguments of nac_cuda_encoder_open, or of the decoder's."""

    sizes: ctypes.Structure
    ints: Ints
    floats: Floats


class _Writer:
    """Puts arrays one after the other, each filled up with zeros to 4 floats."""

    def __init__(self) -> None:
        self._parts: list[Floats] = []

    def vector(self, values: npt.ArrayLike, unit: int = 4) -> None:
        flat = np.asarray(values, np.float32).reshape(-1)
        self._parts.append(np.pad(flat, (0, -len(flat) % unit)))

    def dense(self, layer: Mapping[str, Any]) -> None:
        weight = np.asarray(layer["weight"], np.float32).T  # [depth, columns]
        self.vector(np.pad(weight, ((0, 0), (0, -weight.shape[1] % COLUMNS))))
        if "bias" in layer:
            self.vector(layer["bias"], COLUMNS)

    def body(self, body: Mapping[str, Any]) -> None:
        for block in body["blocks"]:
            taps = np.asarray(block["conv"]["weight"], np.float32)
            self.vector(np.pad(taps, ((0, 0), (0, -taps.shape[1] % PANEL))))
            self.vector(block["conv"]["bias"], PANEL)
            self.norm(block["norm"])
            self.dense(block["expand"])
            self.dense(block["reduce"])
        self.norm(body["norm"])

    def norm(self, norm: Mapping[str, Any]) -> None:
        self.vector(norm["weight"], PANEL)
        self.vector(norm["bias"], PANEL)

    def fft(self, tables: Any) -> None:
        self.vector(tables.twiddles)
        self.vector(tables.unpack)

    def floats(self) -> Floats:
        return np.concatenate(self._parts)


def pack_encoder(weights: WeightsFile) -> Packed:
    """Pack the encoder's half of the network. Raises ModelError."""
    books, config = weights.codebooks, weights.config
    return weights.read(lambda tensors: _encoder(tensors, config, books))


def pack_decoder(weights: WeightsFile) -> Packed:
    """Pack the decoder's half of the network. Raises ModelError."""
    books, config = weights.codebooks, weights.config
    return weights.read(lambda tensors: _decoder(tensors, config, books))


def _encoder(tensors: Tensors, config: ModelConfig, books: Floats) -> Packed:
    tables, weights = encoder_parts(tensors, config, books)
    out = _Writer()
    for name in ("long_fft", "short_fft"):
        out.fft(tables[name])
    for name in ("long_window", "short_window"):
        out.vector(tables[name])
    for name in ("mean", "scale"):
        out.vector(weights[name])
    out.dense(weights["embed"])
    out.body(weights["body"])
    out.dense(weights["project"])
    out.vector(books)
    long_fft, short_fft = tables["long_fft"], tables["short_fft"]
    sizes = EncoderSizes(
        long_fft=FftSizes(long_fft.n, len(long_fft.radices)),
        short_fft=FftSizes(short_fft.n, len(short_fft.radices)),
        hop=config.backbone_hop,
        per_frame=config.backbone_hop // (config.short_fft // 2),
        phase_bins=config.phase_bins,
        waveform=bool(config.waveform),
        gather=config.encoder_stack,
        stack=config.hop_length // (config.backbone_hop * config.encoder_stack),
        body=BodySizes(
            config.encoder_dim,
            config.encoder_hidden,
            config.encoder_blocks,
            config.kernel_size,
            config.encoder_lookahead,
        ),
        levels=config.n_codebooks,
        codewords=config.codebook_size,
        latent=config.latent_dim,
    )
    return Packed(sizes, np.concatenate([long_fft.radices, short_fft.radices]), out.floats())


def _decoder(tensors: Tensors, config: ModelConfig, books: Floats) -> Packed:
    tables, weights = decoder_parts(tensors, config, books)
    out = _Writer()
    out.vector(books)
    out.dense(weights["embed"])
    out.body(weights["body"])
    out.fft(tables["fft"])
    for name in ("window", "lower", "upper"):
        out.vector(tables[name])
    out.dense(weights["gain"])
    out.dense(weights["shape"])
    fft = tables["fft"]
    bins = config.synthesis_fft // 2 + 1
    sizes = DecoderSizes(
        levels=config.n_codebooks,
        codewords=config.codebook_size,
        latent=config.latent_dim,
        stack=config.hop_length // config.backbone_hop,
        body=BodySizes(
            config.decoder_dim,
            config.decoder_hidden,
            config.decoder_blocks,
            config.kernel_size,
            config.decoder_lookahead,
        ),
        fft=FftSizes(fft.n, len(fft.radices)),
        hop=config.synthesis_hop,
        per_frame=config.backbone_hop // config.synthesis_hop,
        bands=config.gain_bands,
        noise_bin=min(max(tables["noise_bin"], 0), bins),
    )
    return Packed(sizes, np.concatenate([fft.radices, tables["band"]]), out.floats())
