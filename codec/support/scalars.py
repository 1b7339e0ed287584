"""Write the scalars of a training run for TensorBoard."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Scalars:
    """Scalars of a run in `folder` that begins or goes on at `step`.

    What a killed run logged beyond its last checkpoint is not shown any more. Without TensorBoard
    a warning says so, and nothing is written.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            warnings.warn("no TensorBoard logs: pip install tensorboard", stacklevel=3)
            return
        self._writer = SummaryWriter(str(folder), purge_step=step)  # type: ignore[no-untyped-call]

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write each of `values` by its name."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out what is buffered."""
        if self._writer is not None:
            self._writer.close()
