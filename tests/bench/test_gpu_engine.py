"""The GPU engine's benchmark, rehearsed on the stand-in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.gpu.run import ROOT


@pytest.mark.slow
def test_rehearsal(cuda_stand_in: Path) -> None:
    pytest.importorskip("codec.engine._engine")
    done = subprocess.run(
        [sys.executable, "-m", "bench.gpu.engine", str(ROOT / "tests/clips"), "--small"],
        cwd=ROOT,
        env=os.environ | {"CODEC_CUDA_LIBRARY": str(cuda_stand_in)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "0 codes and 0 samples differ" in done.stdout
    assert "| expand |" in done.stdout
