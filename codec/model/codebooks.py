"""Codebooks as the weights file stores them: 8-bit codewords, each with a scale of its own.

Codewords make up 1/4 of a model in float16; stored in 8 bits, 1/8. What the rounding changes in one
level, some 44 dB below its codewords, the next level sees in its residual and corrects.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from codec.errors import ModelError

LARGEST = 127


def pack(
    codebooks: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float16]]:
    """float32 [..., dim] -> codewords int8 [..., dim] and their scales float16 [...].

    What `unpack` gives is packed as it was, where scales are normal numbers: the largest value of a
    packed codeword is LARGEST then, so its scale is found again, exactly.
    """
    wanted = np.abs(codebooks).max(axis=-1).astype(np.float64) / LARGEST
    scales = wanted.astype(np.float16)
    # The next larger one, so that no value passes LARGEST; a scale of 0 would lose the codeword.
    larger = np.nextafter(scales, np.float16(np.inf))
    scales = np.where((scales < wanted) | (scales == 0), larger, scales)
    values = np.rint(codebooks / scales[..., None].astype(np.float32))
    return values.astype(np.int8), scales


def unpack(
    values: npt.NDArray[np.int8], scales: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.float32]:
    """The codebooks that `values` and `scales` define, float32: each product is exact.

    An 8-bit integer times an 11-bit significand fits the 24 bits of a float32; the scales may have
    been widened already. Raises ModelError unless shapes and dtypes fit and all scales are finite.
    """
    if values.dtype != np.int8 or scales.dtype.kind != "f" or scales.shape != values.shape[:-1]:
        raise ModelError(
            f"codewords {values.dtype} {list(values.shape)} do not go with "
            f"scales {scales.dtype} {list(scales.shape)}"
        )
    if not np.isfinite(scales).all():
        raise ModelError("scales of codewords that are not finite numbers")
    return values.astype(np.float32) * scales[..., None].astype(np.float32)
