"""The numeric operations of `codec.rvq` and `codec.mel` on torch tensors, on any device.

For training and GPUs. They agree with the exact kernels up to rounding: sums are in whatever
order the device's library takes. Keep TF32 off for them (torch's default for matrix products).
On CUDA tensors codec's own kernels run where they are built, and log-mel needs no gradient.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from codec.kernels import cuda_ops
from codec.kernels.mel_spec import MelSpec, log_scale, mel_filters, mel_window


def rvq_encode(latents: torch.Tensor, codebooks: torch.Tensor) -> torch.Tensor:
    """Find nearest codewords: latents float32 [N, D], codebooks [Q, K, D] -> codes int64 [Q, N]."""
    if latents.is_cuda and cuda_ops.is_built() and latents.shape[1] <= cuda_ops.MAX_DIM:
        exact: torch.Tensor = torch.ops.codec.rvq_encode(latents, codebooks)
        return exact
    residual = latents
    codes = torch.empty((len(codebooks), len(latents)), dtype=torch.int64, device=latents.device)
    for level, words in enumerate(codebooks):
        half = 0.5 * words.square().sum(dim=1)
        codes[level] = torch.addmm(half, residual, words.T, alpha=-1).argmin(dim=1)
        residual = residual - words[codes[level]]
    return codes


def rvq_decode(codes: torch.Tensor, codebooks: torch.Tensor) -> torch.Tensor:
    """Add up codewords: codes int64 [Q' <= Q, N], codebooks [Q, K, D] -> [N, D]."""
    out = codebooks.new_zeros((codes.shape[1], codebooks.shape[2]))
    for level_codes, words in zip(codes, codebooks, strict=False):
        out = out + words[level_codes]
    return out


def log_mel(audio: torch.Tensor, spec: MelSpec) -> torch.Tensor:
    """Compute `codec.mel.log_mel` of float32 [B, samples] on its device -> [B, n_mels, frames].

    Differentiable in `audio`; what the floor or the range cuts off has no gradient.
    """
    if audio.is_cuda and not audio.requires_grad and cuda_ops.is_built() and cuda_ops.fits(spec):
        return cuda_ops.log_mel(audio, spec)
    n_frames = spec.n_frames(audio.shape[-1])
    if n_frames == 0:
        return audio.new_empty((len(audio), spec.n_mels, 0))
    window = torch.tensor(mel_window(spec), device=audio.device)
    filters = torch.tensor(mel_filters(spec), device=audio.device)
    frames = _padded(audio, spec).unfold(-1, spec.n_fft, spec.hop_length)[:, :n_frames]
    spectrum = torch.fft.rfft(frames * window)
    power = spectrum.abs() if spec.power == 1 else spectrum.real.square() + spectrum.imag.square()
    mel: torch.Tensor = (power @ filters.T).transpose(1, 2)
    if spec.log is None:
        return mel.contiguous()
    log = mel.clamp(min=spec.floor).log10()
    if spec.dynamic_range is not None:
        if spec.maximum == "clip":
            top = log.amax(dim=(1, 2), keepdim=True)
        elif spec.maximum == "running":
            top = log.amax(dim=1, keepdim=True).cummax(dim=2).values
        else:
            top = log.new_tensor(spec.maximum)
        log = torch.maximum(log, top - spec.dynamic_range)
    scale, offset = log_scale(spec)
    return (log * scale + offset).contiguous()


def _padded(audio: torch.Tensor, spec: MelSpec) -> torch.Tensor:
    """Continue audio [B, samples] by spec.pad samples at both ends."""
    pad = spec.pad
    if spec.padding == "zeros":
        return functional.pad(audio, (pad, pad))
    long_enough = functional.pad(audio, (0, max(0, pad + 1 - audio.shape[-1]))) if pad else audio
    return functional.pad(long_enough[:, None], (pad, pad), mode="reflect")[:, 0]
