"""Which adapter a name such as "mimi:kyutai/mimi" asks for."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from codec.adapters.base import TorchAdapter
from codec.adapters.dac import Dac
from codec.adapters.encodec import Encodec
from codec.adapters.mimi import Mimi
from codec.adapters.snac import Snac
from codec.adapters.xcodec2 import Xcodec2
from codec.errors import ModelError

ADAPTERS: Mapping[str, type[TorchAdapter]] = MappingProxyType(
    {kind.name: kind for kind in (Encodec, Mimi, Dac, Snac, Xcodec2)}
)

_NAME = re.compile(r"([a-z0-9]{2,}):(.+)")  # two letters at least: C: is a disk


def adapter_named(model: object) -> tuple[str, str] | None:
    """Split "name:source"; None if `model` is something else, such as a path that exists.

    Raises ModelError on a name before the colon that no adapter has.
    """
    match = _NAME.fullmatch(model) if isinstance(model, str) else None
    if not match or os.path.exists(match[0]):  # noqa: PTH110
        return None
    if match[1] not in ADAPTERS:
        raise ModelError(f"no adapter {match[1]!r}; there are {', '.join(ADAPTERS)}")
    return match[1], match[2]


def open_adapter(name: str, source: str, device: Any = None) -> TorchAdapter:
    """Open the checkpoint `source` by the adapter `name`. Raises as `TorchAdapter` does."""
    return ADAPTERS[name](source, device)
