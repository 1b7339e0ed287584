"""The model as torch operators: torch.ops.codec.encode and torch.ops.codec.decode.

    torch.ops.codec.encode(audio, model, n_codebooks, lengths=None)
        float32 [B, samples] -> int64 [B, n_codebooks, frames]
    torch.ops.codec.decode(codes, model, lengths=None)
        int64 [B, 1 to Q, frames] -> float32 [B, frames * hop_length]

model: a name or a path, as `codec.load` takes it. lengths: the samples, or frames, of each item
that count; None for all of them. frames are the ceiling of samples / hop_length. Results beyond an
item's end are 0.

On CPU tensors the native engine runs, on CUDA tensors the CUDA engine (CODEC_CUDA=1), without a
round trip to the host: codes and samples are the same bits. Both work under torch.compile, without
a gradient. A model is loaded on first use, and kept for each device.

On the CPU bad values are errors: AudioError, TokensError. On CUDA the values are not checked in
advance, as that would wait for the GPU: an item with a sample that is not finite gets codes of -1,
and an item with a code that is not in the codebook becomes NaN, over its whole length. No other
item changes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch

from codec.engine.cuda import CudaBackend
from codec.engine.halves import UnsupportedModelError
from codec.engine.native import NativeBackend
from codec.errors import AudioError, TokensError
from codec.model.checks import check_codebooks
from codec.model.config import ModelConfig
from codec.model.location import weights_path
from codec.model.weights_file import WeightsFile
from codec.support.workers import Workers, usable_cores

Tensor = torch.Tensor
Lengths = Sequence[int] | None
R = TypeVar("R")

# A CUDA graph would replay the plan of the batch that the host had made for another call.
_TAGS = (torch.Tag.cudagraph_unsafe,) if hasattr(torch.Tag, "cudagraph_unsafe") else ()

torch.library.define(
    "codec::encode",
    "(Tensor audio, str model, SymInt n_codebooks, SymInt[]? lengths=None) -> Tensor",
    tags=_TAGS,
)
torch.library.define(
    "codec::decode", "(Tensor codes, str model, SymInt[]? lengths=None) -> Tensor", tags=_TAGS
)


def encode(
    audio: Tensor, model: str = "default", n_codebooks: int | None = None, lengths: Lengths = None
) -> Tensor:
    """Encode audio as torch.ops.codec.encode does; n_codebooks: None for all of the model's.

    Raises AudioError on another shape or dtype, or lengths that do not fit; BitrateError;
    ModelError; BackendError without the engine for the device of `audio`.
    """
    count = _config(model).n_codebooks if n_codebooks is None else n_codebooks
    found: Tensor = torch.ops.codec.encode(audio, model, count, lengths)
    return found


def decode(codes: Tensor, model: str = "default", lengths: Lengths = None) -> Tensor:
    """Decode codes as torch.ops.codec.decode does.

    Raises TokensError on another shape or dtype, or lengths that do not fit; ModelError;
    BackendError without the engine for the device of `codes`.
    """
    found: Tensor = torch.ops.codec.decode(codes, model, lengths)
    return found


@functools.lru_cache(maxsize=8)
def _config(model: str) -> ModelConfig:
    return WeightsFile(weights_path(model)).config


@functools.lru_cache(maxsize=8)
def _native(model: str) -> NativeBackend:
    backend = NativeBackend(weights_path(model))
    if backend.config.channels != 1:
        raise UnsupportedModelError(
            f"{weights_path(model).name}: the operators code one channel at a time,"
            f" not {backend.config.channels} together"
        )
    return backend


@functools.lru_cache(maxsize=8)
def _cuda(model: str, index: int) -> CudaBackend:
    return CudaBackend(weights_path(model), f"cuda:{index}")


def _check_audio(audio: Tensor, lengths: Lengths) -> None:
    if audio.dim() != 2 or audio.dtype != torch.float32:
        raise AudioError(f"audio is float32 [B, samples], not {audio.dtype} {list(audio.shape)}")
    if not _fit(lengths, audio):
        raise AudioError(f"lengths are {len(audio)} numbers of samples, 0 to {audio.shape[1]}")


def _check_codes(codes: Tensor, config: ModelConfig, lengths: Lengths) -> None:
    most = config.n_codebooks
    if codes.dim() != 3 or codes.dtype != torch.int64 or not 1 <= codes.shape[1] <= most:
        raise TokensError(
            f"codes are int64 [B, 1 to {most}, frames], not {codes.dtype} {list(codes.shape)}"
        )
    if not _fit(lengths, codes):
        raise TokensError(f"lengths are {len(codes)} numbers of frames, 0 to {codes.shape[2]}")


def _fit(lengths: Lengths, items: Tensor) -> bool:
    if lengths is None:
        return True
    return len(lengths) == len(items) and all(0 <= n <= items.shape[-1] for n in lengths)


@torch.library.impl("codec::encode", "CPU")
def _encode_cpu(audio: Tensor, model: str, n_codebooks: int, lengths: Lengths = None) -> Tensor:
    _check_audio(audio, lengths)
    backend = _native(model)
    check_codebooks(n_codebooks, backend.config)
    items = audio.detach().numpy()
    codes = np.zeros((len(items), n_codebooks, backend.config.n_frames(items.shape[1])), np.int64)

    def put(i: int, n: int) -> None:
        found = backend.encode(items[i, :n], n_codebooks)
        codes[i, :, : found.shape[1]] = found

    _each(put, lengths, items.shape)
    return torch.from_numpy(codes)


@torch.library.impl("codec::decode", "CPU")
def _decode_cpu(codes: Tensor, model: str, lengths: Lengths = None) -> Tensor:
    backend = _native(model)
    _check_codes(codes, backend.config, lengths)
    items, hop = codes.numpy(), backend.config.hop_length
    audio = np.zeros((len(items), items.shape[2] * hop), np.float32)

    def put(i: int, n: int) -> None:
        audio[i, : n * hop] = backend.decode(items[i, :, :n])

    _each(put, lengths, items.shape)
    return torch.from_numpy(audio)


def _each(put: Callable[[int, int], R], lengths: Lengths, shape: tuple[int, ...]) -> None:
    """Call `put` with the number and the length of each item, on all cores."""
    counts = [shape[-1]] * shape[0] if lengths is None else lengths
    calls = [functools.partial(put, i, int(n)) for i, n in enumerate(counts)]
    with Workers(min(len(calls), usable_cores())) as workers:
        for _ in workers.run(calls):
            pass


@torch.library.impl("codec::encode", "CUDA")
def _encode_cuda(audio: Tensor, model: str, n_codebooks: int, lengths: Lengths = None) -> Tensor:
    index, stream = audio.device.index, torch.cuda.current_stream(audio.device).cuda_stream
    with torch.cuda.device(audio.device):
        return queue_encode(_cuda(model, index), audio, n_codebooks, lengths, stream)


@torch.library.impl("codec::decode", "CUDA")
def _decode_cuda(codes: Tensor, model: str, lengths: Lengths = None) -> Tensor:
    index, stream = codes.device.index, torch.cuda.current_stream(codes.device).cuda_stream
    with torch.cuda.device(codes.device):
        return queue_decode(_cuda(model, index), codes, lengths, stream)


def queue_encode(
    backend: CudaBackend, audio: Tensor, n_codebooks: int, lengths: Lengths, stream: int
) -> Tensor:
    """Queue the work of torch.ops.codec.encode on `stream`, a cudaStream_t that is torch's current
    one; `audio` lies on the GPU of `backend`."""
    _check_audio(audio, lengths)
    check_codebooks(n_codebooks, backend.config)
    batch, samples = audio.shape
    frames = backend.config.n_frames(samples)
    codes = torch.zeros((batch, n_codebooks, frames), dtype=torch.int64, device=audio.device)
    if codes.numel() == 0:
        return codes
    counts = [samples] * batch if lengths is None else [int(n) for n in lengths]
    wrong = (~torch.isfinite(audio.detach()) & _within(counts, samples, lengths, audio)).any(1)
    clean = audio.detach().nan_to_num(0.0, 0.0, 0.0).contiguous()
    backend.encoder.queue(
        *(clean.data_ptr(), samples, counts, n_codebooks, codes.data_ptr(), frames, stream)
    )
    return codes.masked_fill_(wrong[:, None, None], -1)


def queue_decode(backend: CudaBackend, codes: Tensor, lengths: Lengths, stream: int) -> Tensor:
    """Queue the work of torch.ops.codec.decode on `stream`, a cudaStream_t that is torch's current
    one; `codes` lie on the GPU of `backend`."""
    config = backend.config
    _check_codes(codes, config, lengths)
    batch, levels, frames = codes.shape
    samples = frames * config.hop_length
    audio = torch.zeros((batch, samples), dtype=torch.float32, device=codes.device)
    if audio.numel() == 0:
        return audio
    counts = [frames] * batch if lengths is None else [int(n) for n in lengths]
    bad = ((codes < 0) | (codes >= config.codebook_size)).any(1)
    wrong = (bad & _within(counts, frames, lengths, codes)).any(1)
    given = codes.contiguous()
    backend.decoder.queue(
        *(given.data_ptr(), levels, frames, counts, audio.data_ptr(), samples, stream)
    )
    return audio.masked_fill_(wrong[:, None], torch.nan)


def _within(counts: list[int], width: int, lengths: Lengths, like: Tensor) -> Tensor:
    """Tell which of an item's columns count: bool [B, width], or [1, 1] if all do."""
    if lengths is None:
        return torch.ones((1, 1), dtype=torch.bool, device=like.device)
    ends = torch.tensor(counts).to(like.device, non_blocking=True)
    return torch.arange(width, device=like.device)[None] < ends[:, None]


def _encode_shape(audio: Tensor, model: str, n_codebooks: int, lengths: Lengths = None) -> Tensor:
    hop = _config(model).hop_length
    frames = (audio.shape[1] + hop - 1) // hop
    return audio.new_empty((audio.shape[0], n_codebooks, frames), dtype=torch.int64)


def _decode_shape(codes: Tensor, model: str, lengths: Lengths = None) -> Tensor:
    hop = _config(model).hop_length
    return codes.new_empty((codes.shape[0], codes.shape[2] * hop), dtype=torch.float32)


torch.library.register_fake("codec::encode", _encode_shape)
torch.library.register_fake("codec::decode", _decode_shape)
