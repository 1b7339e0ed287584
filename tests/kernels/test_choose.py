"""The choice of a backend."""

from __future__ import annotations

import pytest

from codec.errors import BackendError
from codec.kernels import choose as kernels


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Modules that count as importable, for the test to fill."""
    modules: set[str] = set()
    monkeypatch.setattr(kernels, "_importable", modules.__contains__)
    return modules


def test_native_comes_before_numba_and_torch_is_never_chosen(installed: set[str]) -> None:
    installed.add("torch")
    with pytest.raises(BackendError, match=r"C compiler.*pip install 'codec\[numba\]'"):
        kernels.resolve(None)
    installed.add("numba")
    assert kernels.resolve(None) == "numba"
    installed.add("codec.kernels._native")
    assert kernels.resolve(None) == "native"


@pytest.mark.parametrize("backend", ["native", "numba", "torch"])
def test_a_backend_that_is_not_here_names_its_remedy(installed: set[str], backend: str) -> None:
    assert kernels.available() == ()
    with pytest.raises(BackendError, match="install"):
        kernels.resolve(backend)
    installed.add(kernels._MODULES[backend])
    assert kernels.resolve(backend) == backend
    assert kernels.available() == (backend,)
