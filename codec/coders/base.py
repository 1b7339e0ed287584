"""How the codes of a chunk become its payload: the one interface between the file and its coders.

A coder starts anew with every chunk, so that damage stays where it is and any chunk can be decoded
by itself. That holds for live files too, whose chunks are one frame long.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from codec.errors import BackendError, FormatError, ModelError

Codes = npt.NDArray[np.uint16]

TABLES_ID_BYTES = 8
CODER_IDS = {"raw": 0, "fast": 1, "best": 2}
PREFERRED = ("fast", "raw")
CODER_NAMES = {number: name for name, number in CODER_IDS.items()}


class Coder(Protocol):
    """Codes of one chunk to bytes, and back. Safe to share between threads."""

    @property
    def coder_id(self) -> int:
        """As in the file: a value of `CODER_IDS`."""

    @property
    def tables_id(self) -> bytes:
        """The first 8 bytes of the SHA-256 of the coder's own data; zeros if it has none."""

    def encode(self, codes: Codes) -> bytes:
        """The payload for `codes` uint16 [channels, codebooks, frames], none of them empty."""

    def decode(self, payload: bytes, channels: int, codebooks: int, frames: int) -> Codes:
        """The codes uint16 [channels, codebooks, frames] of which `encode` made `payload`.

        Raises FormatError on what `encode` would not have written for such a shape. Memory and
        time depend on the shape, never on what the payload says.
        """


class RawCoder:
    """Every code in as many bits as the codebook needs."""

    coder_id = CODER_IDS["raw"]
    tables_id = bytes(TABLES_ID_BYTES)

    def __init__(self, codebook_size: int) -> None:
        self._size = codebook_size
        self._bits = (codebook_size - 1).bit_length()

    def encode(self, codes: Codes) -> bytes:
        return pack_codes(np.moveaxis(codes, 2, 0), self._bits)

    def decode(self, payload: bytes, channels: int, codebooks: int, frames: int) -> Codes:
        count = channels * codebooks * frames
        if len(payload) != -(-count * self._bits // 8):
            raise FormatError(f"{len(payload)} bytes do not hold {count} codes")
        codes = unpack_codes(payload, count, self._bits)
        if int(codes.max()) >= self._size:
            raise FormatError(f"code {codes.max()} is beyond the codebook")
        return np.moveaxis(codes.reshape(frames, channels, codebooks), 0, 2)


def load_coder(
    coder: str | int | None,
    codebook_size: int,
    weights: Path | None = None,
    model_id: bytes | None = None,
) -> Coder:
    """The coder of that name, or of that number in a file; None: the first of `PREFERRED` whose
    data are here.

    weights: the model's safetensors file, beside which a coder's own data lie; None for a model
        without any. model_id: of the model; None: that of `weights`. Raises BackendError on an
        unknown name, FormatError on an unknown number, ModelError if the coder's data are not here.
    """
    if coder is None:
        for name in PREFERRED:
            with contextlib.suppress(ModelError, BackendError):
                return load_coder(name, codebook_size, weights, model_id)
        coder = RawCoder.coder_id
    if isinstance(coder, str):
        if coder not in CODER_IDS:
            raise BackendError(f"effort is one of {', '.join(CODER_IDS)}, not {coder!r}")
        coder = CODER_IDS[coder]
    if coder == RawCoder.coder_id:
        return RawCoder(codebook_size)
    if coder not in CODER_NAMES:
        raise FormatError(f"coder {coder}, which this codec does not know")
    if weights is None:
        raise ModelError(f"the model has no data for the coder {CODER_NAMES[coder]!r}")
    try:
        from codec.coders import entropy
    except ImportError as error:
        if getattr(error, "name", None) not in ("codec", "codec.coders._entropy"):
            raise
        raise BackendError("the entropy coders are not installed: they need a C compiler") from None
    return entropy.load(weights, coder, model_id=model_id)


def pack_codes(codes: Codes, bits: int) -> bytes:
    """The low `bits` (1 to 16) of each code, most significant first, padded with zero bits."""
    # Two big-endian bytes a code, unpacked, are its 16 bits from the top.
    octets = np.ascontiguousarray(codes, dtype=">u2").reshape(-1).view(np.uint8)
    return np.packbits(np.unpackbits(octets).reshape(-1, 16)[:, 16 - bits :]).tobytes()


def unpack_codes(data: bytes, count: int, bits: int) -> Codes:
    """`count` codes, the inverse of `pack_codes`. Raises FormatError if the padding is not zero."""
    unpacked = np.unpackbits(np.frombuffer(data, np.uint8))
    if unpacked[count * bits :].any():
        raise FormatError("the padding is not zero")
    padded = np.zeros((count, 16), np.uint8)
    padded[:, 16 - bits :] = unpacked[: count * bits].reshape(count, bits)
    return np.packbits(padded).view(">u2").astype(np.uint16)
