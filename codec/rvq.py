"""Residual vector quantisation (Zeghidour et al., SoundStream, 2021, section III-C).

Each level quantises what the levels before it left, so that any prefix of the codes decodes.
The search is defined to the bit, all in float32 and in this order:

    dot(a, b)     s = 0; for d = 0..D-1: s = fma(a[d], b[d], s)
    half[k]       0.5 * dot(c_k, c_k)
    score[k]      half[k] - dot(residual, c_k)     (|residual - c_k|^2 - |residual|^2) / 2
    code          the k of the lowest score, the lowest such k on ties
    residual[d]   residual[d] - c_code[d]

Exact: "native" and "numba" meet that on every CPU, whatever N; a score that overflows never wins.
"torch" differs by rounding: it may pick the other of two codewords that all but tie. `decode` is
the same bits from all three.

Fast: "native". Where the CPU multiplies int8 fast (AVX-512 with VNNI) it first bounds all scores by
integer arithmetic and then scores, as defined, the one or two codewords in a thousand that the
bounds leave; csrc/rvq/rvq_screen.h has the proof that these are the same codes. Codebooks that were
stored as int8 with a scale for each codeword suit it best: their bounds are the tightest. What
every search needs of the codebooks is prepared once by `Codebooks`; given as an array they are
prepared in every call, which takes as long as the search of some dozens of vectors. Nothing is
remembered of an array: its owner may write to it between two calls, which only reading all of it
would show, and to read it (and see that it is finite) is much of that time. So streams, and all
who call with a frame or a few, want `Codebooks`.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from codec.errors import ArrayError, TokensError
from codec.kernels import load, resolve

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint16]

MAX_CODEWORDS = 1 << 16  # codes are uint16
FEW = 32  # vectors in a call that do not make up for preparing all of the codebooks in it


class Codebooks:
    """Codebooks float32 [Q, K, D], K <= 65536, made ready once for any number of `encode` calls.

    A copy: later changes of the array change nothing. Safe to share between threads.

    Raises ArrayError on a wrong shape or dtype, or values that are not finite.
    """

    def __init__(self, codebooks: npt.ArrayLike) -> None:
        self._books = _codebooks(codebooks).copy()
        self._plan: Any = None

    @property
    def values(self) -> Floats:
        """The codebooks [Q, K, D], not to be written to."""
        view = self._books.view()
        view.setflags(write=False)
        return view

    def _native(self) -> Any:
        """The codebooks packed for the native search, on first use."""
        if self._plan is None:  # two threads may both pack: the same
            self._plan = load("codec.kernels._native").RvqPlan(self._books)
        return self._plan


def encode(
    latents: npt.ArrayLike,
    codebooks: npt.ArrayLike | Codebooks,
    *,
    n_codebooks: int | None = None,
    backend: str | None = None,
) -> Codes:
    """Nearest codewords of all levels.

    latents: float32 [N, D], N >= 0. codebooks: `Codebooks`, or what they are made of, float32
    [Q, K, D] with K <= 65536; the first `n_codebooks` of them are used, None for all Q. Returns
    codes uint16 [n_codebooks, N].

    Raises ArrayError on a wrong shape or dtype, or values that are not finite, BackendError on a
    backend ("native", "numba", "torch", None for the fastest exact one) that cannot run here.
    """
    books = _codebooks(codebooks)
    x = _floats(latents, "latents", 2)
    if x.shape[1] != books.shape[2]:
        raise ArrayError(
            f"latents of {x.shape[1]} dimensions do not fit codebooks of {books.shape[2]}"
        )
    levels = len(books) if n_codebooks is None else n_codebooks
    if not 1 <= levels <= len(books):
        raise ArrayError(f"n_codebooks is 1 to {len(books)}, not {levels}")

    name = resolve(backend)
    codes: Any
    if name == "native":
        if isinstance(codebooks, Codebooks):
            codes = codebooks._native().encode(x, levels)
        elif len(x) < FEW:
            codes = load("codec.kernels._native").encode_rvq_once(x, books[:levels])
        else:
            codes = load("codec.kernels._native").RvqPlan(books[:levels]).encode(x, levels)
    elif name == "numba":
        codes = load("codec.kernels.rvq_numba").encode(x, books[:levels])
    else:
        ops, torch = load("codec.kernels.torch_ops"), load("torch")
        codes = ops.rvq_encode(torch.tensor(x), torch.tensor(books[:levels])).numpy()
    return cast(Codes, codes.astype(np.uint16, copy=False))


def decode(
    codes: npt.ArrayLike, codebooks: npt.ArrayLike | Codebooks, *, backend: str | None = None
) -> Floats:
    """Sum of the codewords that `codes` name, added in the order of the levels, from 0.

    codes: integers [Q', N] with 1 <= Q' <= Q. codebooks: as for `encode`. Returns float32
    [N, D], the same bits from every backend.

    Raises TokensError on codes of a wrong shape or dtype or not below K, ArrayError on codebooks
    that `encode` would not take, BackendError on a backend that cannot run here.
    """
    books = _codebooks(codebooks)
    tokens = np.asarray(codes)
    if tokens.ndim != 2 or not 1 <= len(tokens) <= len(books):
        raise TokensError(f"codes are [1 to {len(books)}, N], not {list(tokens.shape)}")
    if tokens.dtype.kind not in "iu":
        raise TokensError(f"codes are integers, not {tokens.dtype}")
    if tokens.size and not 0 <= int(tokens.min()) <= int(tokens.max()) < books.shape[1]:
        raise TokensError(f"codes are 0 to {books.shape[1] - 1}")
    tokens = np.ascontiguousarray(tokens, np.uint16)

    name = resolve(backend)
    out: Any
    if name == "native":
        out = load("codec.kernels._native").decode_rvq(tokens, books)
    elif name == "numba":
        out = load("codec.kernels.rvq_numba").decode(tokens, books)
    else:
        ops, torch = load("codec.kernels.torch_ops"), load("torch")
        out = ops.rvq_decode(torch.tensor(tokens.astype(np.int64)), torch.tensor(books)).numpy()
    return cast(Floats, out)


def _codebooks(codebooks: npt.ArrayLike | Codebooks) -> Floats:
    if isinstance(codebooks, Codebooks):
        return codebooks._books
    books = _floats(codebooks, "codebooks", 3)
    if not books.size or books.shape[1] > MAX_CODEWORDS:
        raise ArrayError(
            f"codebooks are [Q, K, D], none 0 and K at most {MAX_CODEWORDS}, "
            f"not {list(books.shape)}"
        )
    return books


def _floats(values: npt.ArrayLike, name: str, ndim: int) -> Floats:
    array = np.asarray(values)
    if array.dtype != np.float32 or array.ndim != ndim:
        raise ArrayError(
            f"{name} are float32 of {ndim} dimensions, not {array.dtype} of {array.ndim}"
        )
    if not np.isfinite(array).all():
        raise ArrayError(f"{name} have values that are not finite")
    return np.ascontiguousarray(array)
