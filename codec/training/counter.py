"""Random numbers as a function of their place: the same integers on every device.

Philox4x32-10 is a counter-based generator (Salmon et al., "Parallel random numbers: as easy as 1,
2, 3", SC 2011). A block of four 32-bit words is a function of a 64-bit key and a 128-bit counter,
so nothing is remembered between draws. Here the key is the seed, and the counter holds the block's
number, the row (the place of a crop in its batch) and the step, in 32, 32 and 64 bits.

A word is an int64 in 0 ... 2^32 - 1. No intermediate result exceeds 63 bits, so every device and
compiler gives the same words.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
MASK = 0xFFFFFFFF

STREAM_BLOCKS = 1 << 24  # blocks of a row's stream: numbers for different uses never overlap

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def philox(counter: Words, seed: int) -> Words:
    """Compute Philox4x32-10 of four int64 tensors of 32-bit words under a 64-bit key."""
    a, b, c, d = counter
    keys = [seed & MASK, seed >> 32]
    for _ in range(ROUNDS):
        high_a, low_a = _multiply(a, MULTIPLIERS[0])
        high_c, low_c = _multiply(c, MULTIPLIERS[1])
        a, b, c, d = high_c ^ b ^ keys[0], low_c, high_a ^ d ^ keys[1], low_a
        keys = [(key + step) & MASK for key, step in zip(keys, KEY_STEPS, strict=True)]
    return a, b, c, d


def words(seed: int, step: Tensor, rows: Tensor, stream: int, count: int) -> Tensor:
    """Draw `count` words for each row; int64 [len(rows), count].

    seed: 0 ... 2^64 - 1. step: int64 scalar, 0 or more. rows: int64 [n], below 2^32. stream: a
    number below 256 for each use of words, so that one use does not shift the words of another.
    count: at most 2^26. All tensors are on one device, and the result is on it too.
    """
    blocks = -(-count // 4)
    block = torch.arange(blocks, device=rows.device) + stream * STREAM_BLOCKS
    shape = (len(rows), blocks)
    counter = (
        block.expand(shape),
        rows[:, None].expand(shape),
        (step & MASK).expand(shape),
        (step >> 32).expand(shape),
    )
    return torch.stack(philox(counter, seed), dim=-1).reshape(len(rows), -1)[:, :count]


def unit(words: Tensor) -> Tensor:
    """Convert words to float64 in [0, 1), exactly: word / 2^32."""
    return words.double() * 2.0**-32


def normal(words: Tensor) -> Tensor:
    """Convert words [..., 2 n] to standard normal numbers, float32 [..., 2 n] (Box and Muller).

    The logarithm and the cosine differ between devices by rounding.
    """
    radius, angle = words.chunk(2, dim=-1)
    radius = torch.sqrt(-2 * torch.log((radius + 1).float() * 2.0**-32))
    angle = angle.float() * (2 * math.pi * 2.0**-32)
    return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)


def _multiply(x: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Give the high and the low word of the 64-bit product of two words."""
    # By halves of the factor: the whole product does not fit into 63 bits.
    upper, lower = x * (factor >> 16), x * (factor & 0xFFFF)
    high = (upper + (lower >> 16)) >> 16
    low = (((upper & 0xFFFF) << 16) + lower) & MASK
    return high, low
