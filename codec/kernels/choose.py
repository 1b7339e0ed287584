"""Which implementation of an operation runs: `codec.kernels._native` (C), numba or torch."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType

from codec.errors import BackendError

_MODULES = {"native": "codec.kernels._native", "numba": "numba", "torch": "torch"}
_REMEDIES = {
    "native": "install a C compiler and reinstall codec",
    "numba": "pip install 'codec[numba]'",
    "torch": "pip install 'codec[torch]'",
}


@functools.cache
def _importable(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def available() -> tuple[str, ...]:
    """The backends that can run here, of "native", "numba" and "torch". Imports all three."""
    return tuple(name for name, module in _MODULES.items() if _importable(module))


def resolve(backend: str | None) -> str:
    """The backend to run: the one asked for, or for None "native", else "numba".

    torch is never chosen unasked: it is right only up to rounding, and slow to import.

    Raises BackendError when it is unknown or cannot run here, with the remedy.
    """
    if backend is None:
        for name in ("native", "numba"):
            if _importable(_MODULES[name]):
                return name
        raise BackendError(
            f"neither the native kernels nor numba are here: {_REMEDIES['native']}, "
            f"or {_REMEDIES['numba']}"
        )
    if backend not in _MODULES:
        raise BackendError(f"backend is one of {', '.join(_MODULES)}, or None, not {backend!r}")
    if not _importable(_MODULES[backend]):
        raise BackendError(f"backend {backend!r} is not here: {_REMEDIES[backend]}")
    return backend


def load(name: str) -> ModuleType:
    """The module of kernels `name`, imported when first needed: numba and torch are slow to."""
    return importlib.import_module(name)
