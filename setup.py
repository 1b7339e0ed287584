"""Builds the C extensions from csrc/ where there is a C compiler; pyproject.toml has the rest."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

WITHOUT = (
    "codec is installed WITHOUT its native kernels: {reason}. "
    "They need gcc or clang and the Python headers (Debian: apt install build-essential "
    "python3-dev); without them the slower numba kernels run, if numba is installed."
)


class BuildNative(build_ext):
    """`build_ext` that warns and goes on when the kernels cannot be compiled.

    CODEC_REQUIRE_NATIVE=1 makes that an error (for CI and for building wheels).
    """

    def build_extension(self, ext: Extension) -> None:
        # -ffp-contract=off: the kernels' results are the same bits on every machine only if the
        # compiler fuses no product and sum by itself; csrc/isa.h explains.
        flags = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
        if os.environ.get("CODEC_SANITIZE"):
            flags += ["-O0", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"]
            ext.extra_link_args += ["-fsanitize=address,undefined"]
        ext.extra_compile_args += flags
        ext.optional = not os.environ.get("CODEC_REQUIRE_NATIVE")
        try:
            super().build_extension(ext)
        except Exception:  # every compiler class raises errors of its own
            if not ext.optional:
                raise
            warnings.warn(WITHOUT.format(reason="compiling failed, see above"), stacklevel=1)


def native_extension() -> list[Extension]:
    try:
        from Cython.Build import cythonize
    except ImportError:
        if os.environ.get("CODEC_REQUIRE_NATIVE"):
            raise
        warnings.warn(WITHOUT.format(reason="Cython is not there"), stacklevel=1)
        return []
    sources = {
        "codec._native": Path("csrc").glob("*.c"),
        "codec._engine": [*Path("csrc/engine").glob("*.c"), *Path("csrc").glob("rvq*.c")],
        "codec._entropy": [*Path("csrc/entropy").glob("*.c"), *Path("csrc/engine").glob("k*.c")],
    }
    extensions = [
        Extension(
            name,
            sources=[f"{name.replace('.', '/')}.pyx", *sorted(map(str, paths))],
            depends=sorted(str(path) for path in Path("csrc").rglob("*.h")),
            include_dirs=["csrc"],
            libraries=[] if sys.platform == "win32" else ["m"],
        )
        for name, paths in sources.items()
    ]
    return cythonize(extensions, language_level=3)


setup(ext_modules=native_extension(), cmdclass={"build_ext": BuildNative})
