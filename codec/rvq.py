"""Residual vector quantisation (Zeghidour et al., SoundStream, 2021, section III-C).

Each level quantises what the levels before it left, so that any prefix of the codes decodes.
The search is defined to the bit, all in float32 and in this order:

    dot(a, b)     s = 0; for d = 0..D-1: s = fma(a[d], b[d], s)
    half[k]       0.5 * dot(c_k, c_k)
    score[k]      half[k] - dot(residual, c_k)     (|residual - c_k|^2 - |residual|^2) / 2
    code          the k of the lowest score, the lowest such k on ties
    residual[d]   residual[d] - c_code[d]

A beam search (Babenko & Lempitsky, CVPR 2014, section 3) keeps several paths, choices of codewords
for the levels so far, and so finds codewords that add up closer to the latent. It is defined to the
bit too, in csrc/rvq/rvq_beam.h.

Exact: "native" and "numba" meet that on every CPU, whatever N; a score that overflows never wins.
"torch" differs by rounding: it may pick the other of two codewords that all but tie. `decode` is
the same bits from all three.

Fast: "native". Where the CPU multiplies int8 fast (AVX-512 with VNNI) it first bounds all scores by
integer arithmetic and then scores, as defined, the one or two codewords in a thousand that the
bounds leave; csrc/rvq/rvq_bounds.h has the proof that these are the same codes. Codebooks that were
stored as int8 with a scale for each codeword suit it best: their bounds are the tightest. What
every search needs of the codebooks is prepared once by `Codebooks`; given as an array they are
prepared in every call, which takes as long as the search of some dozens of vectors. Nothing is
remembered of an array: its owner may write to it between two calls, which only reading all of it
would show, and to read it (and see that it is finite) is much of that time. So streams, and all
who call with a frame or a few, want `Codebooks`.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from codec.errors import BackendError
from codec.kernels import rvq_exact
from codec.kernels.choose import load, resolve
from codec.kernels.rvq_exact import MAX_BEAM, MAX_CODEWORDS, Codebooks
from codec.support.types import Codes

__all__ = ["MAX_BEAM", "MAX_CODEWORDS", "Codebooks", "decode", "encode"]

Floats = npt.NDArray[np.float32]


def encode(
    latents: npt.ArrayLike,
    codebooks: npt.ArrayLike | Codebooks,
    *,
    n_codebooks: int | None = None,
    beam: int = 1,
    backend: str | None = None,
) -> Codes:
    """Nearest codewords of all levels.

    latents: floats [N, D], N >= 0. codebooks: `Codebooks`, or what they are made of, floats
    [Q, K, D] with K <= 65536; the first `n_codebooks` of them are used, None for all Q. beam: 1 for
    the nearest codeword of each level in turn; up to 64 paths of a beam search, which takes about
    as many times as long, and whose codes of fewer levels are not the first of those of more.
    Returns codes uint16 [n_codebooks, N]. Floats of other widths are rounded to float32.

    Raises ArrayError on a wrong shape or dtype, values that are not finite, or another beam,
    BackendError on a backend ("native", "numba", "torch", None for the fastest exact one) that
    cannot run here; "torch" has no beam search.
    """
    if resolve(backend) != "torch":
        return rvq_exact.encode(
            latents, codebooks, n_codebooks=n_codebooks, beam=beam, backend=backend
        )
    rvq_exact.check_beam(beam)
    if beam > 1:
        raise BackendError("the torch kernels have no beam search; native and numba have")
    x, books = rvq_exact.check_latents(latents, codebooks, n_codebooks)
    ops, torch = load("codec.kernels.torch_ops"), load("torch")
    codes = ops.rvq_encode(torch.tensor(x), torch.tensor(books)).numpy()
    return cast(Codes, codes.astype(np.uint16))


def decode(
    codes: npt.ArrayLike, codebooks: npt.ArrayLike | Codebooks, *, backend: str | None = None
) -> Floats:
    """Sum of the codewords that `codes` name, added in the order of the levels, from 0.

    codes: integers [Q', N] with 1 <= Q' <= Q. codebooks: as for `encode`. Returns float32
    [N, D], the same bits from every backend.

    Raises TokensError on codes of a wrong shape or dtype or not below K, ArrayError on codebooks
    that `encode` would not take, BackendError on a backend that cannot run here.
    """
    if resolve(backend) != "torch":
        return rvq_exact.decode(codes, codebooks, backend=backend)
    tokens, books = rvq_exact.check_codes(codes, codebooks)
    ops, torch = load("codec.kernels.torch_ops"), load("torch")
    out = ops.rvq_decode(torch.tensor(tokens.astype(np.int64)), torch.tensor(books)).numpy()
    return cast(Floats, out)
