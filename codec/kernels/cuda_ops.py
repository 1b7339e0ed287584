"""RVQ and log-mel as torch operators: torch.ops.codec.rvq_encode, rvq_decode and log_mel.

On CPU tensors they run the exact kernels of `codec.rvq` and `codec.mel`; on CUDA tensors those of
csrc/cuda, whose codes and levels are defined to be the same bits. They are compiled when codec is
installed with CODEC_CUDA=1 (README, "CUDA"); `is_built` tells. All three work under torch.compile.

    torch.ops.codec.rvq_encode(latents, codebooks)   float32 [N, D], [Q, K, D] -> int64 [Q, N]
    torch.ops.codec.rvq_decode(codes, codebooks)     int64 [Q' <= Q, N], [Q, K, D] -> [N, D]
    torch.ops.codec.log_mel(audio, spec, frame_major)  float32 or int16 [B, samples] -> levels

rvq_decode is differentiable in `codebooks`. On the CPU bad values are errors, as in `codec.rvq`
and `codec.mel`. On CUDA they are not looked for, as that would wait for the GPU: what is not finite
spoils its own vector or clip, and a code that is not in the codebook makes its vector NaN.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from codec.errors import ArrayError, BackendError
from codec.kernels import mel_exact, rvq_exact
from codec.kernels.cuda_tables import cuda_tables
from codec.kernels.mel_spec import WHISPER_80, MelSpec, find_spec, first_top, tables

torch.library.define("codec::rvq_encode", "(Tensor latents, Tensor codebooks) -> Tensor")
torch.library.define("codec::rvq_decode", "(Tensor codes, Tensor codebooks) -> Tensor")
torch.library.define("codec::log_mel", "(Tensor audio, str spec, bool frame_major=False) -> Tensor")
torch.library.define(
    "codec::_log_mel",
    "(Tensor audio, Tensor ints, Tensor floats, int[] sizes, float[] numbers, float top, "
    "int n_frames, bool frame_major) -> Tensor",
)


MAX_DIM = 1024  # of vectors on CUDA


def _load() -> bool:
    found = importlib.util.find_spec("codec.kernels._cuda")
    if found is None or found.origin is None:
        return False
    try:
        torch.ops.load_library(found.origin)  # type: ignore[no-untyped-call]
    except OSError as error:
        warnings.warn(
            "codec's CUDA kernels do not fit this torch: reinstall codec with CODEC_CUDA=1 "
            f"({str(error).splitlines()[0]})",
            stacklevel=2,
        )
        return False
    return True


_LOADED = _load()


def is_built() -> bool:
    """Tell whether the CUDA kernels are built for this torch."""
    return _LOADED


def fits(spec: MelSpec) -> bool:
    """Tell whether the frames of a spec are certain to fit into a GPU's shared memory.

    At most 76 KB of 99 are taken, for n_fft = 4095: csrc/cuda/mel_kernels.h adds it up.
    """
    return spec.n_fft <= 4096 and spec.n_mels <= 512


def log_mel(
    audio: torch.Tensor, spec: MelSpec | str = WHISPER_80, frame_major: bool = False
) -> torch.Tensor:
    """Compute `codec.mel.log_mel` of float32 or int16 audio [B, samples], without a gradient.

    Raises SpecError on an unknown preset; ValueError on frames that do not fit into a GPU's shared
    memory, or audio of another shape or dtype; BackendError if `is_built` says no.
    """
    found: torch.Tensor = torch.ops.codec.log_mel(audio, spec_text(spec), frame_major)
    return found


def spec_text(spec: MelSpec | str) -> str:
    """Write a spec for torch.ops.codec.log_mel: JSON of its fields, or the name of a preset."""
    return spec if isinstance(spec, str) else json.dumps(dataclasses.asdict(spec))


@functools.lru_cache(maxsize=64)
def _spec(text: str) -> MelSpec:
    return MelSpec(**json.loads(text)) if text.startswith("{") else find_spec(text)


def _float32(values: torch.Tensor, name: str) -> npt.NDArray[np.float32]:
    """Give float32 as an array. The kernels on a GPU take no other floats, so here none are taken.

    Raises ArrayError.
    """
    if values.dtype != torch.float32:
        raise ArrayError(f"{name} are float32, not {values.dtype}")
    return values.detach().numpy()


@torch.library.impl("codec::rvq_encode", "CPU")
def _rvq_encode(latents: torch.Tensor, codebooks: torch.Tensor) -> torch.Tensor:
    codes = rvq_exact.encode(_float32(latents, "latents"), _float32(codebooks, "codebooks"))
    return torch.from_numpy(codes.astype(np.int64))


@torch.library.impl("codec::rvq_decode", "CPU")
def _rvq_decode(codes: torch.Tensor, codebooks: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(rvq_exact.decode(codes.numpy(), _float32(codebooks, "codebooks")))


@torch.library.impl("codec::log_mel", "CPU")
def _log_mel(audio: torch.Tensor, spec: str, frame_major: bool = False) -> torch.Tensor:
    samples = audio if audio.dtype == torch.int16 else _float32(audio, "samples")
    levels = mel_exact.log_mel(samples, _spec(spec), frame_major=frame_major)
    return torch.from_numpy(levels)


@torch.library.impl("codec::log_mel", "CUDA")
def _log_mel_cuda(audio: torch.Tensor, spec: str, frame_major: bool = False) -> torch.Tensor:
    if not is_built():
        raise BackendError("the CUDA kernels are not built: reinstall codec with CODEC_CUDA=1")
    found = _spec(spec)
    frames, top = found.n_frames(audio.shape[-1]), first_top(found)
    packed = _packed(found, audio.device)
    levels: torch.Tensor = torch.ops.codec._log_mel(audio, *packed, top, frames, frame_major)
    return levels


def _rvq_encode_shape(latents: torch.Tensor, codebooks: torch.Tensor) -> torch.Tensor:
    return latents.new_empty((codebooks.shape[0], latents.shape[0]), dtype=torch.int64)


def _rvq_decode_shape(codes: torch.Tensor, codebooks: torch.Tensor) -> torch.Tensor:
    return codebooks.new_empty((codes.shape[1], codebooks.shape[2]))


def _log_mel_shape(audio: torch.Tensor, spec: str, frame_major: bool = False) -> torch.Tensor:
    found = _spec(spec)
    frames = found.n_frames(audio.shape[-1])
    shape = (frames, found.n_mels) if frame_major else (found.n_mels, frames)
    return audio.new_empty((audio.shape[0], *shape), dtype=torch.float32)


torch.library.register_fake("codec::rvq_encode", _rvq_encode_shape)
torch.library.register_fake("codec::rvq_decode", _rvq_decode_shape)
torch.library.register_fake("codec::log_mel", _log_mel_shape)


def _keep_codes(ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor], output: Any) -> None:
    codes, codebooks = inputs
    ctx.save_for_backward(codes)
    ctx.shape = codebooks.shape


def _codebooks_grad(ctx: Any, grad: torch.Tensor) -> tuple[None, torch.Tensor]:
    (codes,) = ctx.saved_tensors
    books = grad.new_zeros(ctx.shape)
    for level, level_codes in enumerate(codes):
        books[level].index_add_(0, level_codes, grad)
    return None, books


torch.library.register_autograd("codec::rvq_decode", _codebooks_grad, setup_context=_keep_codes)


@functools.lru_cache(maxsize=64)
def _packed(
    spec: MelSpec, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, list[int], list[float]]:
    packed = cuda_tables(tables(spec))
    ints, floats = (torch.from_numpy(part).to(device) for part in (packed.ints, packed.floats))
    return ints, floats, packed.sizes, packed.numbers
