"""Residual vector quantisation in numba: csrc/rvq/rvq.c's arithmetic, operation by operation."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from codec.kernels.fma import fma
from codec.support.types import Codes

Floats = npt.NDArray[np.float32]

_ZERO = np.float32(0)
_HALF = np.float32(0.5)
_INFINITY = np.float32(np.inf)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _half_norms(codebook: Floats) -> Floats:
    """Compute 0.5 * |c_k|^2 [K] of a codebook [K, D], each one chain of FMAs over d."""
    half = np.empty(codebook.shape[0], np.float32)
    for k in range(codebook.shape[0]):
        norm = _ZERO
        for d in range(codebook.shape[1]):
            norm = fma(codebook[k, d], codebook[k, d], norm)
        half[k] = _HALF * norm
    return half


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def encode(latents: Floats, codebooks: Floats) -> Codes:
    """Encode latents [N, D] to codes [Q, N]; `codec.rvq.encode` has checked both arrays."""
    n, dim = latents.shape
    levels, codewords, _ = codebooks.shape
    residual = latents.copy()
    codes = np.empty((levels, n), np.uint16)
    dot = np.empty(codewords, np.float32)
    for level in range(levels):
        half = _half_norms(codebooks[level])
        words = codebooks[level].T.copy()  # [D, K]: vectors run over k, never along a sum
        for i in range(n):
            dot[:] = _ZERO
            for d in range(dim):
                x = residual[i, d]
                for k in range(codewords):
                    dot[k] = fma(x, words[d, k], dot[k])
            best = _INFINITY
            where = 0
            for k in range(codewords):
                score = half[k] - dot[k]
                if score < best:
                    best = score
                    where = k
            codes[level, i] = where
            for d in range(dim):
                residual[i, d] -= words[d, where]
    return codes


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def encode_beam(latents: Floats, codebooks: Floats, beam: int) -> Codes:
    """Encode by csrc/rvq/rvq_beam.h's search with `beam` paths, 2 or more."""
    n, dim = latents.shape
    levels, codewords, _ = codebooks.shape
    codes = np.empty((levels, n), np.uint16)
    words = np.empty((levels, dim, codewords), np.float32)
    half = np.empty((levels, codewords), np.float32)
    for level in range(levels):
        words[level] = codebooks[level].T
        half[level] = _half_norms(codebooks[level])
    residual = np.empty((beam, dim), np.float32)
    following = np.empty((beam, dim), np.float32)
    cost = np.empty(beam, np.float32)
    kept = np.empty(beam, np.float32)
    which = np.empty((levels, beam), np.int64)  # path * codewords + codeword, lowest cost first
    dot = np.empty(codewords, np.float32)
    for i in range(n):
        residual[0] = latents[i]
        cost[0] = _ZERO
        paths = 1
        for level in range(levels):
            count = 0
            for path in range(paths):
                dot[:] = _ZERO
                for d in range(dim):
                    x = residual[path, d]
                    for k in range(codewords):
                        dot[k] = fma(x, words[level, d, k], dot[k])
                for k in range(codewords):
                    found = cost[path] + (half[level, k] - dot[k])
                    # Candidates come in the order of path and codeword: of equals the first stays.
                    if not (found < _INFINITY and (count < beam or found < kept[count - 1])):
                        continue
                    if count < beam:
                        count += 1
                    at = count - 1
                    while at > 0 and found < kept[at - 1]:
                        kept[at] = kept[at - 1]
                        which[level, at] = which[level, at - 1]
                        at -= 1
                    kept[at] = found
                    which[level, at] = path * codewords + k
            if count == 0:
                count = 1
                kept[0] = cost[0]
                which[level, 0] = 0
            for at in range(count):
                path, k = divmod(which[level, at], codewords)
                for d in range(dim):
                    following[at, d] = residual[path, d] - words[level, d, k]
            residual, following = following, residual
            cost[:count] = kept[:count]
            paths = count
        path = 0
        for level in range(levels - 1, -1, -1):
            path, codes[level, i] = divmod(which[level, path], codewords)
    return codes


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def decode(codes: Codes, codebooks: Floats) -> Floats:
    """Decode codes [Q, N] to [N, D]: add the codewords in the order of the levels, from 0."""
    levels, n = codes.shape
    out = np.zeros((n, codebooks.shape[2]), np.float32)
    for i in range(n):
        for level in range(levels):
            out[i] += codebooks[level, codes[level, i]]
    return out
