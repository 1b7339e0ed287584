"""Names of the array types that most folders share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint16]  # [levels, frames] or [channels, levels, frames]
