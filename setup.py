"""Builds the C extensions from csrc/ where there is a C compiler; pyproject.toml has the rest.

CODEC_CUDA=1 also builds the CUDA kernels, for the torch that is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
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
        if ext.name == "codec.kernels._cuda":
            build_cuda(ext, Path(self.get_ext_fullpath(ext.name)), Path(self.build_temp))
            return
        # -ffp-contract=off: the kernels' results are the same bits on every machine only if the
        # compiler fuses no product and sum by itself; csrc/common/isa.h explains.
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
    folders_of = {
        "codec.kernels._native": ("common", "mel", "rvq"),
        "codec.engine._engine": ("engine", "kernels", "rvq"),
        "codec.coders._entropy": ("entropy", "kernels"),
    }
    extensions = [
        Extension(
            name,
            sources=[
                f"{name.replace('.', '/')}.pyx",
                *sorted(
                    str(path) for folder in folders for path in Path("csrc", folder).glob("*.c")
                ),
            ],
            depends=sorted(map(str, [*Path("csrc").rglob("*.h"), *Path("codec").rglob("*.pxi")])),
            include_dirs=["csrc"],
            libraries=[] if sys.platform == "win32" else ["m"],
        )
        for name, folders in folders_of.items()
    ]
    return cythonize(extensions, language_level=3)


# sm_80's code runs on all 8.x, sm_90's PTX is compiled by the driver for what came after.
ARCHITECTURES = ["arch=compute_80,code=sm_80", "arch=compute_90,code=[sm_90,compute_90]"]


def cuda_extension() -> list[Extension]:
    if os.environ.get("CODEC_CUDA", "0") in ("", "0"):
        return []
    sources = [*Path("csrc/cuda").glob("*.cu"), Path("csrc/cuda/torch_ops.cpp")]
    headers = Path("csrc").rglob("*.h")
    return [
        Extension(
            "codec.kernels._cuda", sorted(map(str, sources)), depends=sorted(map(str, headers))
        )
    ]


def build_cuda(ext: Extension, path: Path, temp: Path) -> None:
    """Compiles and links the library that codec.nn.cuda_ops loads; it is no Python module."""
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    if not Path(nvcc).exists():
        raise SystemExit("CODEC_CUDA=1 needs CUDA's compiler: there is no nvcc on PATH")
    try:
        import torch
    except ImportError:
        raise SystemExit(
            "CODEC_CUDA=1 needs torch: pip install torch, then codec with --no-build-isolation"
        ) from None
    version = subprocess.run([nvcc, "--version"], check=True, capture_output=True, text=True)
    found = re.search(r"release (\d+)", version.stdout)
    major = found.group(1) if found else "unknown"
    if major != (torch.version.cuda or "").split(".")[0]:
        raise SystemExit(
            f"CODEC_CUDA=1 needs an nvcc and a torch of one CUDA version: nvcc is of CUDA {major}, "
            f"torch {torch.__version__} of {torch.version.cuda or 'none'}"
        )
    home = Path(torch.__file__).parent
    temp.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = [str(temp / f"cuda_{Path(source).name}.o") for source in ext.sources]
    for source, target in zip(ext.sources, objects, strict=True):
        # -fmad=false, and what is not here (-ftz, -use_fast_math): csrc/cuda/device.h explains.
        flags = ["-std=c++20", "-O3", "-fmad=false", "-Xcompiler", "-fPIC", "-Icsrc"]
        if source.endswith(".cu"):
            flags += [word for pair in ARCHITECTURES for word in ("-gencode", pair)]
        else:
            flags += ["-isystem", str(home / "include")]
        subprocess.run([nvcc, *flags, "-c", source, "-o", target], check=True)
    libraries = ["-lc10", "-lc10_cuda", "-ltorch_cpu", "-ltorch"]
    link = ["-shared", "-cudart", "shared", f"-L{home / 'lib'}", *libraries]
    subprocess.run([nvcc, *objects, *link, "-o", str(path)], check=True)


setup(ext_modules=[*native_extension(), *cuda_extension()], cmdclass={"build_ext": BuildNative})
