"""Chooses the implementation that runs: `codec.kernels._native` (C), numba or torch."""

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
    """Name the backends that can run here, of "native", "numba" and "torch". Imports all three."""
    return tuple(name for name, module in _MODULES.items() if _importable(module))


def resolve(backend: str | None) -> str:
    """Return the backend to run: the one asked for, or for None "native", else "numba".

    torch runs only when asked for: it agrees only up to rounding, and slow to import.

    Raises BackendError when it is unknown or cannot run here, with the remedy.
    """
    if backend is None:
        for name in ("native", "numba"):
            if _importable(_MODULES[name]):
                return name
        raise BackendError(
            f"neither the native kernels nor numba are installed: {_REMEDIES['native']}, "
            f"or {_REMEDIES['numba']}"
        )
    if not isinstance(backend, str) or backend not in _MODULES:
        raise BackendError(f"backend is one of {', '.join(_MODULES)}, or None, not {backend!r}")
    if not _importable(_MODULES[backend]):
        raise BackendError(f"backend {backend!r} is not installed: {_REMEDIES[backend]}")
    return backend


def load(name: str) -> ModuleType:
    """Import the module `name` when it is first needed: numba and torch are slow to import."""
    return importlib.import_module(name)
