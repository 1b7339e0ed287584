"""Codes as the models of the entropy coder see them in training: chunks drawn at random."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def order_0(codes: Tensor, size: int) -> Tensor:
    """Logarithms of the frequencies of `codes`, int64 [frames], each counted half a time more."""
    counts = torch.bincount(codes, minlength=size) + 0.5
    return torch.log(counts / counts.sum())


def mixed(codes: list[npt.NDArray[np.uint16]], seed: int = 0) -> list[npt.NDArray[np.uint16]]:
    """Stretches of at most 500 frames of all files, in an order drawn by `seed`."""
    cut = [part for file in codes for part in np.array_split(file, -(-file.shape[1] // 500), 1)]
    return [cut[i] for i in np.random.default_rng(seed).permutation(len(cut))]


def chunks_of(codes: list[npt.NDArray[np.uint16]], frames: int, limit: int) -> Tensor:
    """At most `limit` chunks of `frames` frames, evenly from all files: int64 [Q, chunks, frames].

    Files that are shorter than a chunk are left out.
    """
    cut = [
        file[:, : file.shape[1] // frames * frames].reshape(len(file), -1, frames) for file in codes
    ]
    every = np.concatenate(cut, axis=1)
    chosen = np.linspace(0, every.shape[1] - 1, min(limit, every.shape[1])).astype(int)
    return torch.from_numpy(every[:, chosen].astype(np.int64))
