"""Packs a model's weights as csrc/cuda/engine.h takes them: sizes, one array of integers, one of
floats."""

from __future__ import annotations

import ctypes
import dataclasses

import numpy as np
import numpy.typing as npt

from codec.engine import _engine, packing
from codec.model.weights_file import WeightsFile

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


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


def pack_encoder(weights: WeightsFile) -> Packed:
    """Pack the encoder's half of the network. Raises ModelError."""
    sizes, ints, floats = packing.pack_encoder(weights, "scalar", _engine.BLOCK).cuda_arrays()
    return Packed(EncoderSizes.from_buffer_copy(sizes), ints, floats)


def pack_decoder(weights: WeightsFile) -> Packed:
    """Pack the decoder's half of the network. Raises ModelError."""
    sizes, ints, floats = packing.pack_decoder(weights, "scalar", _engine.BLOCK).cuda_arrays()
    return Packed(DecoderSizes.from_buffer_copy(sizes), ints, floats)
