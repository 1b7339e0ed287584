"""The numeric operations of `codec.rvq` and `codec.mel` on torch tensors, on any device.

For training and GPUs. They agree with the exact kernels up to rounding: sums are in whatever
order the device's library takes. Keep TF32 off for them (torch's default for matrix products).
"""

from __future__ import annotations

import torch


def rvq_encode(latents: torch.Tensor, codebooks: torch.Tensor) -> torch.Tensor:
    """Nearest codewords: latents float32 [N, D], codebooks [Q, K, D] -> codes int64 [Q, N]."""
    residual = latents
    codes = torch.empty(
        (len(codebooks), len(latents)), dtype=torch.int64, device=latents.device
    )
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
