"""csrc/cuda as functions, compiled with g++ against what stands for CUDA: tests/helpers/cuda_shim.

The shim says what running on it shows. Arrays in and out are those of `codec.rvq` and `codec.mel`.
"""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from codec import mel, rvq
from codec.kernels import mel_spec
from codec.kernels.cuda_tables import cuda_tables

ROOT = Path(__file__).parents[2]
SHIM = Path(__file__).parent / "cuda_shim"
SOURCES = [*sorted((ROOT / "csrc/cuda").glob("*.cu")), *sorted(SHIM.glob("*.cpp"))]
# The checksum of the weights, and the CPU's kernels to compare single layers with.
C_SOURCES = [
    ROOT / "csrc/common/crc32c.c",
    ROOT / "csrc/kernels/kernels_scalar.c",
    SHIM / "scalar_layers.c",
]
C_FLAGS = ["-std=c11", "-O2", "-fPIC", "-ffp-contract=off"]
FLAGS = [
    *("-std=c++17", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-DCODEC_CUDA_SHIM"),
    f"-I{ROOT / 'csrc'}",
    f"-I{SHIM}",
    *("-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Werror"),
    *(["-mavx2", "-mfma"] if platform.machine() == "x86_64" else []),
]
GXX, GCC = shutil.which("g++"), shutil.which("gcc")
FEW, MANY = 0, 1 << 20  # multiprocessors: then calls count as large, or as small
SIZES = (FEW, MANY)  # a large GPU has tiles of 16 vectors, a small one of 64


def build(path: Path, *flags: str) -> None:
    """Compile the shared library that `Host` loads, and that CODEC_CUDA_LIBRARY may name."""
    objects = []
    for source in C_SOURCES:
        objects.append(str(path.with_suffix(f".{source.stem}.o")))
        gcc = [str(GCC), *C_FLAGS, *flags, f"-I{ROOT / 'csrc'}", "-c", str(source)]
        subprocess.run([*gcc, "-o", objects[-1]], check=True)
    command = [str(GXX), *FLAGS, *flags, "-x", "c++", *map(str, SOURCES), "-x", "none", *objects]
    subprocess.run([*command, "-o", str(path)], check=True)


class Host:
    """The library at `path`. Every call runs twice, the threads of a phase in either order."""

    def __init__(self, path: Path) -> None:
        self.lib = ctypes.CDLL(str(path))
        for name in ("nac_cuda_rvq_workspace", "nac_cuda_mel_shared_bytes"):
            getattr(self.lib, name).restype = ctypes.c_size_t

    def rvq_encode(
        self, latents: np.ndarray, codebooks: np.ndarray, multiprocessors: int = MANY
    ) -> np.ndarray:
        (n, dim), (levels, words, _) = latents.shape, codebooks.shape
        sizes = [ctypes.c_size_t(size) for size in (levels, words, dim)]
        workspace = _aligned(self.lib.nac_cuda_rvq_workspace(*sizes))
        self.lib.shim_multiprocessors(multiprocessors)

        def run() -> np.ndarray:
            codes = np.full((levels, n), -1, np.int64)
            workspace.fill(np.nan)
            books = _pointer(codebooks), *sizes
            self._call(
                *("nac_cuda_rvq_encode", _pointer(latents), ctypes.c_size_t(n), *books),
                *(_pointer(workspace), _pointer(codes), None),
            )
            return codes

        return self._in_both_orders(run)

    def rvq_decode(self, codes: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
        (levels, n), (_, words, dim) = codes.shape, codebooks.shape
        tokens = codes.astype(np.int64)

        def run() -> np.ndarray:
            out = np.empty((n, dim), np.float32)
            sizes = map(ctypes.c_size_t, (words, dim, levels))
            self._call(
                *("nac_cuda_rvq_decode", _pointer(codebooks), *sizes, _pointer(tokens)),
                *(ctypes.c_size_t(n), _pointer(out), None),
            )
            return out

        return self._in_both_orders(run)

    def log_mel(
        self, clips: np.ndarray, spec: mel_spec.MelSpec, frame_major: bool = False
    ) -> np.ndarray:
        """clips [B, samples], float32 or int16."""
        tables = cuda_tables(mel_spec.tables(spec))
        plan = ctypes.create_string_buffer(1 << 10)  # more than a nac_cuda_mel_plan
        sizes = np.array(tables.sizes, np.int64), np.array(tables.numbers)
        assert self.lib.nac_cuda_mel_unpack(
            *(plan, _pointer(tables.ints), ctypes.c_int64(tables.ints.size)),
            *(_pointer(tables.floats), ctypes.c_int64(tables.floats.size), *map(_pointer, sizes)),
        )
        n_clips, n = clips.shape
        frames = spec.n_frames(n)
        shape = (frames, spec.n_mels) if frame_major else (spec.n_mels, frames)

        def run() -> np.ndarray:
            out = np.full((n_clips, *shape), np.nan, np.float32)
            tops = np.full((n_clips, frames), np.nan, np.float32)
            sizes = map(ctypes.c_size_t, (n_clips, n, frames))
            self._call(
                *("nac_cuda_log_mel", plan, _pointer(clips)),
                *(ctypes.c_int(clips.dtype == np.int16), *sizes, ctypes.c_int(frame_major)),
                *(ctypes.c_float(mel_spec.first_top(spec)), _pointer(tops), _pointer(out), None),
            )
            return out

        return self._in_both_orders(run)

    def _in_both_orders(self, run: Any) -> np.ndarray:
        self.lib.shim_reversed(0)
        forwards = run()
        self.lib.shim_reversed(1)
        np.testing.assert_array_equal(run(), forwards)
        return forwards

    def _call(self, name: str, *arguments: Any) -> None:
        assert getattr(self.lib, name)(*arguments) == 0, f"{name} failed"


def check_codes(host: Host, latents: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """Compare the codes with those of the C kernels; gives them."""
    expected = rvq.encode(latents, codebooks, backend="native")
    for multiprocessors in SIZES:
        codes = host.rvq_encode(latents, codebooks, multiprocessors)
        np.testing.assert_array_equal(codes, expected)
    return expected


def check_mel(host: Host, clips: np.ndarray, spec: mel.MelSpec) -> None:
    """Compare the spectrograms with those of the C kernels."""
    for frame_major in (False, True):
        expected = mel.log_mel(clips, spec, backend="native", frame_major=frame_major)
        levels = host.log_mel(clips, spec, frame_major)
        np.testing.assert_array_equal(levels.view(np.int32), expected.view(np.int32))


def _aligned(floats: int) -> np.ndarray:
    memory = np.empty(floats + 4, np.float32)
    skip = -memory.ctypes.data % 16 // 4
    return memory[skip : skip + floats]


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)
