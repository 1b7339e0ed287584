"""The numeric operations of `codec.rvq` and `codec.mel` on torch tensors, on any device.

For training and GPUs. They agree with the exact kernels up to rounding: sums are in whatever
order the device's library takes. Keep TF32 off for them (torch's default for matrix products).
"""

from __future__ import annotations

import torch
from torch.nn import functional

from codec.kernels.mel_tables import hann
from codec.mel import MelSpec, mel_filters


def rvq_encode(latents: torch.Tensor, codebooks: torch.Tensor) -> torch.Tensor:
    """Nearest codewords: latents float32 [N, D], codebooks [Q, K, D] -> codes int64 [Q, N]."""
    residual = latents
    codes = torch.empty((len(codebooks), len(latents)), dtype=torch.int64, device=latents.device)
    for level, words in enumerate(codebooks):
        half = 0.5 * words.square().sum(dim=1)
        codes[level] = torch.addmm(half, residual, words.T, alpha=-1).argmin(dim=1)
        residual = residual - words[codes[level]]
    return codes


def rvq_decode(codes: torch.Tensor, codebooks: torch.Tensor) -> torch.Tensor:
    """Sum of codewords: codes int64 [Q' <= Q, N], codebooks [Q, K, D] -> [N, D]."""
    out = codebooks.new_zeros((codes.shape[1], codebooks.shape[2]))
    for level_codes, words in zip(codes, codebooks, strict=False):
        out = out + words[level_codes]
    return out


def log_mel(audio: torch.Tensor, spec: MelSpec) -> torch.Tensor:
    """`codec.mel.log_mel` for float32 [B, samples] -> [B, n_mels, samples // hop_length].

    Differentiable in `audio`.
    """
    n_frames = spec.n_frames(audio.shape[-1])
    window = torch.tensor(hann(spec.n_fft), device=audio.device)
    filters = torch.tensor(mel_filters(spec), device=audio.device)
    half = spec.n_fft // 2
    if n_frames == 0:
        return audio.new_empty((len(audio), spec.n_mels, 0))
    padded = functional.pad(audio, (0, max(0, half + 1 - audio.shape[-1])))
    padded = functional.pad(padded[:, None], (half, half), mode="reflect")[:, 0]
    frames = padded.unfold(-1, spec.n_fft, spec.hop_length)[:, :n_frames]
    power = torch.fft.rfft(frames * window).abs().square()
    log = (power @ filters.T).clamp(min=1e-10).log10().transpose(1, 2)
    floor = log.amax(dim=(1, 2), keepdim=True) - 8.0
    return ((torch.maximum(log, floor) + 4.0) / 4.0).contiguous()
