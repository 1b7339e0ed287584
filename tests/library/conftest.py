"""Fixtures: libcodec, compiled once a session, behind the binding of examples/c."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from tests.helpers.c_library import GCC, binding, compile_c, sources


@pytest.fixture(scope="session")
def libcodec(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The library with its functions declared; CODEC_TEST_LIBRARY names one that is built."""
    given = os.environ.get("CODEC_TEST_LIBRARY")
    if given is None and GCC is None:
        pytest.skip("needs gcc")
    if given is None:
        path = tmp_path_factory.mktemp("libcodec") / "libcodec.so"
        # -O0 compiles in two seconds, and gives the bits that -O3 gives
        compile_c(path, sources(), "-O0", "-shared", "-fPIC", "-fvisibility=hidden")
    else:
        path = Path(given)
    library: ctypes.CDLL = binding().load_library(path)
    return library
