"""Builds the C extensions from csrc/ where there is a C compiler; pyproject.toml has the rest.

CODEC_CUDA=1 also builds the CUDA engine, and its kernels for the torch that is installed.
"""

from __future__ import annotations

import importlib.util
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
        if ext.name in (TORCH_OPERATORS, CUDA_ENGINE):
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
        # all of libcodec, whose symbols stay inside
        "codec.engine._engine": ("common", "engine", "entropy", "kernels", "library", "rvq"),
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
            define_macros=[("CODEC_API", "")],
            libraries=[] if sys.platform == "win32" else ["m"],
        )
        for name, folders in folders_of.items()
    ]
    return cythonize(extensions, language_level=3)


# sm_80's code runs on all 8.x, sm_90's PTX is compiled by the driver for what came after.
ARCHITECTURES = ["arch=compute_80,code=sm_80", "arch=compute_90,code=[sm_90,compute_90]"]
TORCH_OPERATORS, CUDA_ENGINE = "codec.kernels._cuda", "codec.engine._cuda"


def cuda_extension() -> list[Extension]:
    """The engine, and where torch is installed its operators."""
    if os.environ.get("CODEC_CUDA", "0") in ("", "0"):
        return []
    headers = sorted(map(str, Path("csrc").rglob("*.h")))

    def extension(name: str, *sources: str) -> Extension:
        return Extension(name, [f"csrc/{source}" for source in sources], depends=headers)

    engine = [f"cuda/{name}.cu" for name in ("host", "encoder", "decoder", "rvq")]
    found = [extension(CUDA_ENGINE, *engine, "common/crc32c.c")]
    if importlib.util.find_spec("torch") is None:
        warnings.warn(
            "codec's torch operators for CUDA are not built: pip install torch, then codec with "
            "--no-build-isolation. The CUDA engine does not need them.",
            stacklevel=1,
        )
        return found
    return [*found, extension(TORCH_OPERATORS, "cuda/mel.cu", "cuda/rvq.cu", "cuda/torch_ops.cpp")]


def build_cuda(ext: Extension, path: Path, temp: Path) -> None:
    """Compiles and links a library that is loaded by its path; it is no Python module."""
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    if not Path(nvcc).exists():
        raise SystemExit("CODEC_CUDA=1 needs CUDA's compiler: there is no nvcc on PATH")
    torch = torch_flags(nvcc) if ext.name == TORCH_OPERATORS else None
    temp.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = [str(temp / f"{ext.name}_{Path(source).name}.o") for source in ext.sources]
    for source, target in zip(ext.sources, objects, strict=True):
        # -fmad=false, and what is not here (-ftz, -use_fast_math): csrc/cuda/device.h explains.
        flags = ["-O3", "-fmad=false", "-Xcompiler", "-fPIC", "-Icsrc"]
        if not source.endswith(".c"):
            flags.append("-std=c++20" if torch else "-std=c++17")
        if source.endswith(".cu"):
            flags += [word for pair in ARCHITECTURES for word in ("-gencode", pair)]
        elif torch:
            flags += torch[0]
        subprocess.run([nvcc, *flags, "-c", source, "-o", target], check=True)
    link = ["-shared", *(["-cudart", "shared", *torch[1]] if torch else ["-cudart", "static"])]
    subprocess.run([nvcc, *objects, *link, "-o", str(path)], check=True)


def torch_flags(nvcc: str) -> tuple[list[str], list[str]]:
    """What compiles and links against the torch that is installed."""
    import torch

    version = subprocess.run([nvcc, "--version"], check=True, capture_output=True, text=True)
    found = re.search(r"release (\d+)", version.stdout)
    major = found.group(1) if found else "unknown"
    if major != (torch.version.cuda or "").split(".")[0]:
        raise SystemExit(
            f"CODEC_CUDA=1 needs an nvcc and a torch of one CUDA version: nvcc is of CUDA {major}, "
            f"torch {torch.__version__} of {torch.version.cuda or 'none'}"
        )
    home = Path(torch.__file__).parent
    libraries = ["-lc10", "-lc10_cuda", "-ltorch_cpu", "-ltorch"]
    return ["-isystem", str(home / "include")], [f"-L{home / 'lib'}", *libraries]


setup(ext_modules=[*native_extension(), *cuda_extension()], cmdclass={"build_ext": BuildNative})
