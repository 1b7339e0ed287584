"""The interface between a file and its coders: how the codes of a chunk become its payload.

A coder starts anew with every chunk, so that damage stays where it is and any chunk can be decoded
by itself. That holds for live files too, whose chunks are one frame long.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from codec.errors import FormatError
from codec.support.types import Codes

TABLES_ID_BYTES = 8

# What users call a coder, and its number in a file. "raw" packs bits; "fast" predicts each code
# by integer tables (`entropy.TablesCoder`); "best" adds a neural prior (`entropy.PriorCoder`).
CODER_IDS = {"raw": 0, "fast": 1, "best": 2}
CODER_NAMES = {number: name for name, number in CODER_IDS.items()}


class Coder(Protocol):
    """Turns the codes of one chunk into bytes, and back. Safe to share between threads."""

    @property
    def coder_id(self) -> int:
        """The number in the file: a value of `CODER_IDS`."""

    @property
    def tables_id(self) -> bytes:
        """The first 8 bytes of the SHA-256 of the coder's own data; zeros if it has none."""

    def encode(self, codes: Codes) -> bytes:
        """Return the payload for `codes` uint16 [channels, codebooks, frames], no dimension 0."""

    def decode(self, payload: bytes, channels: int, codebooks: int, frames: int) -> Codes:
        """Return the codes uint16 [channels, codebooks, frames] that `encode` made `payload` from.

        Raises FormatError on a payload that `encode` would not write for this shape. Memory and
        time depend on the shape, never on the payload.
        """


class RawCoder:
    """Packs every code into as many bits as the size of the codebook needs."""

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
            raise FormatError(f"code {codes.max()} in a codebook of {self._size} entries")
        return np.moveaxis(codes.reshape(frames, channels, codebooks), 0, 2)


def pack_codes(codes: Codes, bits: int) -> bytes:
    """Pack the low `bits` (1 to 16) of each code, most significant first; pad with zero bits."""
    # A code as two big-endian bytes unpacks to its 16 bits, most significant first.
    octets = np.ascontiguousarray(codes, dtype=">u2").reshape(-1).view(np.uint8)
    return np.packbits(np.unpackbits(octets).reshape(-1, 16)[:, 16 - bits :]).tobytes()


def unpack_codes(data: bytes, count: int, bits: int) -> Codes:
    """Unpack `count` codes: the inverse of `pack_codes`.

    Raises FormatError if the padding is not zero.
    """
    unpacked = np.unpackbits(np.frombuffer(data, np.uint8))
    if unpacked[count * bits :].any():
        raise FormatError("the padding is not zero")
    padded = np.zeros((count, 16), np.uint8)
    padded[:, 16 - bits :] = unpacked[: count * bits].reshape(count, bits)
    return np.packbits(padded).view(">u2").astype(np.uint16)
