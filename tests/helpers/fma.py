"""A fused multiply-add in NumPy, proven to round once."""

from __future__ import annotations

import numpy as np


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Compute a * b + c of float32 with one rounding.

    The product of two float32 is exact in float64. The float64 sum is not: it is forced to odd
    (Boldo and Melquiond, 2008), by the exact error of the sum (Knuth's TwoSum), so that the
    rounding to float32 that follows is that of the exact value.
    """
    product, addend = np.float64(a) * np.float64(b), np.float64(c)
    total = product + addend
    shadow = total - product
    error = (product - (total - shadow)) + (addend - shadow)
    even = (total.view(np.int64) & 1) == 0
    towards = np.where(error > 0, np.inf, -np.inf)
    odd = np.where((error != 0) & even, np.nextafter(total, towards), total)
    # An odd total already lies next to the exact value; an even one moves to its odd neighbour.
    return odd.astype(np.float32)
