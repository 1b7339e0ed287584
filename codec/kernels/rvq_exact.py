"""Runs the exact kernels of residual vector quantisation, C or numba: `codec.rvq` defines them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from codec.errors import ArrayError, TokensError
from codec.kernels.choose import load, resolve
from codec.support.arguments import named_array, shown, to_float32, whole
from codec.support.types import Codes

Floats = npt.NDArray[np.float32]

MAX_CODEWORDS = 1 << 16  # codes are uint16
MAX_BEAM = 64
FEW = 32  # vectors in a call that do not make up for preparing all of the codebooks in it


class Codebooks:
    """Prepares codebooks float32 [Q, K, D], K <= 65536, once for any number of `encode` calls.

    They are copied: later changes of the array change nothing. Safe to share between threads.

    Raises ArrayError on a wrong shape or dtype, or values that are not finite.
    """

    def __init__(self, codebooks: npt.ArrayLike) -> None:
        self._books = _codebooks(codebooks).copy()
        self._plan: Any = None

    @property
    def values(self) -> Floats:
        """The codebooks [Q, K, D], read-only."""
        view = self._books.view()
        view.setflags(write=False)
        return view

    def _native(self) -> Any:
        """The codebooks packed for the native search, on first use."""
        if self._plan is None:  # two threads may both pack: the same
            self._plan = _plan(self._books)
        return self._plan


def encode(
    latents: npt.ArrayLike,
    codebooks: npt.ArrayLike | Codebooks,
    *,
    n_codebooks: int | None = None,
    beam: int = 1,
    backend: str | None = None,
) -> Codes:
    """Run `codec.rvq.encode` on "native" or "numba", None for the first that is installed."""
    x, books = check_latents(latents, codebooks, n_codebooks)
    check_beam(beam)
    codes: Any
    if resolve(backend) == "numba":
        numba = load("codec.kernels.rvq_numba")
        codes = numba.encode(x, books) if beam == 1 else numba.encode_beam(x, books, beam)
    elif beam > 1:
        shared = isinstance(codebooks, Codebooks)
        plan = cast(Codebooks, codebooks)._native() if shared else _plan(books)
        codes = plan.encode_beam(x, len(books), beam)
    elif isinstance(codebooks, Codebooks):
        codes = codebooks._native().encode(x, len(books))
    elif len(x) < FEW:
        codes = load("codec.kernels._native").encode_rvq_once(x, books)
    else:
        codes = _plan(books).encode(x, len(books))
    return cast(Codes, codes.astype(np.uint16, copy=False))


def decode(
    codes: npt.ArrayLike, codebooks: npt.ArrayLike | Codebooks, *, backend: str | None = None
) -> Floats:
    """Run `codec.rvq.decode` on "native" or "numba", None for the first that is installed."""
    tokens, books = check_codes(codes, codebooks)
    if resolve(backend) == "numba":
        return cast(Floats, load("codec.kernels.rvq_numba").decode(tokens, books))
    return cast(Floats, load("codec.kernels._native").decode_rvq(tokens, books))


def check_beam(beam: int) -> None:
    """Raises ArrayError unless `beam` is a whole number from 1 to `MAX_BEAM`."""
    if not isinstance(beam, int | np.integer) or not 1 <= beam <= MAX_BEAM:
        raise ArrayError(f"a beam is 1 to {MAX_BEAM} paths, not {shown(beam)}")


def check_latents(
    latents: npt.ArrayLike, codebooks: npt.ArrayLike | Codebooks, n_codebooks: int | None
) -> tuple[Floats, Floats]:
    """Return latents [N, D] and the first `n_codebooks` codebooks [Q, K, D]. Raises ArrayError."""
    books = _codebooks(codebooks)
    x = _floats(latents, "latents", 2)
    if x.shape[1] != books.shape[2]:
        raise ArrayError(
            f"latents of {x.shape[1]} dimensions do not fit codebooks of {books.shape[2]}"
        )
    levels = len(books)
    if n_codebooks is not None:
        levels = whole(n_codebooks, "n_codebooks", ArrayError)
    if not 1 <= levels <= len(books):
        raise ArrayError(f"n_codebooks is 1 to {len(books)}, not {levels}")
    return x, books[:levels]


def check_codes(codes: npt.ArrayLike, codebooks: npt.ArrayLike | Codebooks) -> tuple[Codes, Floats]:
    """Return codes uint16 [Q', N] and codebooks [Q, K, D]. Raises TokensError, ArrayError."""
    books = _codebooks(codebooks)
    tokens = named_array(codes, "codes", TokensError)
    if tokens.ndim != 2 or not 1 <= len(tokens) <= len(books):
        raise TokensError(f"codes are [1 to {len(books)}, N], not {list(tokens.shape)}")
    if tokens.dtype.kind not in "iu":
        raise TokensError(f"codes are integers, not {tokens.dtype}")
    if tokens.size and not 0 <= int(tokens.min()) <= int(tokens.max()) < books.shape[1]:
        raise TokensError(f"codes are 0 to {books.shape[1] - 1}")
    return np.ascontiguousarray(tokens, np.uint16), books


def _plan(books: Floats) -> Any:
    return load("codec.kernels._native").RvqPlan(books)


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
    array = to_float32(named_array(values, name, ArrayError))
    if array.dtype != np.float32 or array.ndim != ndim:
        raise ArrayError(
            f"{name} are floats of {ndim} dimensions, not {array.dtype} of {array.ndim}"
        )
    if not np.isfinite(array).all():
        raise ArrayError(f"{name} have values that are not finite")
    return np.ascontiguousarray(array)
