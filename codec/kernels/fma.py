"""A fused multiply-add for numba: LLVM's llvm.fma, rounded once, whatever the CPU has."""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.extending import intrinsic


@intrinsic  # type: ignore[untyped-decorator]
def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """Compute float32 a * b + c with one rounding: one instruction, or else libm's fmaf."""
    if not (a == b == c == types.float32):
        return None

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), lower
