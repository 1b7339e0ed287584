"""Catch what makes the host wait for a device, or shapes depend on data, on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = (
    *("local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero"),
    *("bincount", "unique", "unique2", "unique_dim"),
)


class NoHostReads(TorchDispatchMode):
    """Raise AssertionError at an operation for which the host would wait for a GPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().removeprefix("aten::").partition(".")[0].strip("_")
        masks = name in ("index", "index_put") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if name in WAITING or masks:
            raise AssertionError(f"the host waits in {func.name()}")
        return func(*args, **(kwargs or {}))
