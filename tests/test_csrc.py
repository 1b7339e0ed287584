"""csrc/ compiles without a warning, and its kernels run clean under the sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "csrc").glob("*.c"))
GCC = shutil.which("gcc")

pytestmark = pytest.mark.skipif(GCC is None, reason="needs gcc")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_no_warnings(source: Path, tmp_path: Path) -> None:
    flags = ["-std=c11", "-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    subprocess.run([str(GCC), *flags, "-c", str(source), "-o", str(tmp_path / "out.o")], check=True)


KERNELS = """
import importlib.util, sys
import numpy as np
spec = importlib.util.spec_from_file_location("codec._native", sys.argv[1])
native = importlib.util.module_from_spec(spec)
spec.loader.exec_module(native)
from codec.kernels.mel_tables import mel_tables
from codec.mel import WHISPER_80, MelSpec, mel_filters

rng = np.random.default_rng(0)
for n, q, k, d in [(1, 1, 1, 1), (241, 2, 33, 5), (7, 3, 64, 8), (500, 1, 31, 3)]:
    books = rng.standard_normal((q, k, d), np.float32)
    for isa in native.isas():
        codes = native.RvqPlan(books, isa).encode(rng.standard_normal((n, d), np.float32), q, isa)
    native.decode_rvq(codes, books)
for s in (WHISPER_80, MelSpec(n_fft=10, hop_length=3, n_mels=2), MelSpec(n_fft=480)):
    plan = native.MelPlan(mel_tables(mel_filters(s), s.hop_length))
    for n in (1, 3, 160, 199, 200, 201, 400, 1279, 1280, 1281, 5000):
        for isa in native.isas():
            plan(rng.standard_normal((2, n), np.float32), isa)
native.log10(np.geomspace(1e-10, 1e30, 100, dtype=np.float32))
"""


def test_sanitizers(tmp_path: Path) -> None:
    """Builds the extension with ASan and UBSan, apart from the one in use, and runs the kernels."""
    runtime = subprocess.run(
        [str(GCC), "-print-file-name=libasan.so"], check=True, capture_output=True, text=True
    ).stdout.strip()
    if not Path(runtime).is_absolute() or not (ROOT / "setup.py").exists():
        pytest.skip("needs libasan and the source tree")
    pytest.importorskip("Cython")
    build = [sys.executable, "setup.py", "build_ext", "--build-lib", str(tmp_path / "lib")]
    subprocess.run(
        [*build, "--build-temp", str(tmp_path / "temp")],
        cwd=ROOT,
        env=os.environ | {"CODEC_SANITIZE": "1", "CODEC_REQUIRE_NATIVE": "1"},
        check=True,
        capture_output=True,
    )
    (extension,) = (tmp_path / "lib" / "codec").glob("_native*.so")
    result = subprocess.run(
        [sys.executable, "-c", KERNELS, str(extension)],
        cwd=ROOT,
        env=os.environ
        | {
            "LD_PRELOAD": runtime,
            "ASAN_OPTIONS": "detect_leaks=0",  # Python itself never frees everything
            "UBSAN_OPTIONS": "halt_on_error=1",
            "PYTHONMALLOC": "malloc",  # so that ASan sees every allocation
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
