from typing import Any

import numpy as np
import numpy.typing as npt

from codec.support.types import Codes

def isas() -> tuple[str, ...]: ...

class Model:
    levels: int
    codewords: int
    def encode(self, codes: Codes, costs: npt.NDArray[np.uint32] | None = None) -> bytes: ...
    def decode(self, payload: bytes, channels: int, levels: int, frames: int) -> Codes | None: ...

class Tables(Model):
    def __init__(
        self,
        embed: npt.NDArray[np.int8],
        out: npt.NDArray[np.int8],
        bias: npt.NDArray[np.int32],
        fraction_bits: npt.NDArray[np.int32],
        back: npt.NDArray[np.int32],
        source: npt.NDArray[np.int32],
        isa: str | None = None,
    ) -> None: ...

class Prior(Model):
    def __init__(
        self,
        tables: Tables,
        parts: dict[str, Any],
        codebooks: npt.NDArray[np.float32],
        unit: npt.NDArray[np.float32],
        isa: str | None = None,
    ) -> None: ...

def range_encode(weights: npt.NDArray[np.uint32], symbols: Codes) -> bytes: ...
def range_decode(weights: npt.NDArray[np.uint32], payload: bytes) -> tuple[Codes, bool]: ...
