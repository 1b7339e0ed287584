"""The same plan on a Ray cluster, of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.random_weights import SMALL, write_weights
from tests.helpers.corpora import shards

pytest.importorskip("ray", reason="ray is not installed: pip install 'codec[ray]'")
psutil = pytest.importorskip("psutil")
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_cluster_with_a_killed_worker_gives_the_same_bytes(tmp_path):
    weights = write_weights(tmp_path / "w.safetensors", SMALL)
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for i in range(96):
        soundfile.write(tmp_path / f"in/{i}.wav", rng.uniform(-0.5, 0.5, 24_000 * 3), 24_000)
    (tmp_path / "in/bad.wav").write_bytes(b"RIFF")
    (tmp_path / "sitecustomize.py").write_text(SLOW)

    def start(out: str, *options: str) -> subprocess.Popen[bytes]:
        command = [
            *(sys.executable, "-m", "codec", "tokenize", "in", "--format", "bin", "-q"),
            *("-o", out, "--shard-items", "10", "--model", str(weights), *options),
        ]
        environment = os.environ | {
            "PYTHONPATH": f"{tmp_path}:{ROOT}",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
        }
        environment.pop("RAY_ADDRESS", None)
        return subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip

    local = start("local", "-t", "2")
    assert local.wait() == 0, local.stderr.read()
    ray = start("ray", "--executor", "ray")
    try:
        killed = kill_a_busy_worker(ray, tmp_path / "ray")
        _, said = ray.communicate(timeout=180)
    finally:
        if ray.poll() is None:
            ray.kill()
    assert ray.returncode == 0, said.decode()
    assert killed, "no worker was seen at work"
    assert shards(tmp_path / "ray") == shards(tmp_path / "local")
    for name in ("dataset.json", "rejects.jsonl"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()


# Workers take their time, so that one can be met at work.
SLOW = """
import sys, time
if any("default_worker" in argument for argument in sys.orig_argv):
    import codec.corpus.rows as rows
    tokenize = rows.tokenize
    def slowly(*arguments):
        time.sleep(0.05)
        return tokenize(*arguments)
    rows.tokenize = slowly
"""


def kill_a_busy_worker(run: subprocess.Popen[bytes], out: Path) -> int | None:
    """With SIGKILL, once a shard is written and while there is more to do."""
    while run.poll() is None:
        if (out / "journal").is_dir() and list((out / "journal").glob("*.json")):
            for process in psutil.Process(run.pid).children(recursive=True):
                try:
                    name = " ".join(process.cmdline())
                except psutil.Error:
                    continue
                if "ray::" in name and "Map" in name:
                    process.send_signal(signal.SIGKILL)
                    return process.pid
        time.sleep(0.01)
    return None
