"""Draw the random signs of spectra where the codes carry no phase."""

from __future__ import annotations

import torch
from torch import Tensor

SIDE = 0x10000


def noise_signs(seeds: Tensor, n_bins: int, first_bin: int) -> Tensor:
    """Draw signs ±1 of spectra with `seeds`, int64 [...] below 2^32 -> float32 [..., n_bins].

    They are 1 below `first_bin`; from there on they are the lowest bit of a hash of seed and bin,
    in integers modulo 2^32 (multiply-xorshift with the constants of C. Wellons's hash "triple32"),
    so that every machine draws the same.
    """
    k = torch.arange(n_bins, dtype=torch.int64, device=seeds.device)
    mask = 0xFFFFFFFF
    h = (seeds[..., None] * 0x9E3779B1 + k) & mask
    for shift, factor in ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB)):
        h = ((h ^ (h >> shift)) * factor) & mask
    h ^= h >> 14
    return torch.where((k >= first_bin) & (h & 1 == 1), -1.0, 1.0)


def noise_keys(codes: Tensor) -> Tensor:
    """Compute the key by which a token frame draws its signs: FNV-1a of its codes, modulo 2^32.

    codes int64 [n_codebooks, ...] -> int64 [...]
    """
    keys = torch.full_like(codes[0], 0x811C9DC5)
    for level in codes:
        keys = ((keys ^ level) * 0x01000193) & 0xFFFFFFFF
    return keys


def side_keys(keys: Tensor) -> Tensor:
    """Compute the keys by which the side draws its signs from those of the mid, int64 [...].

    They are hashed once more, by a number that no code has: with equal signs in both, the noise of
    a stereo signal would all lie in one direction.
    """
    return ((keys ^ SIDE) * 0x01000193) & 0xFFFFFFFF
