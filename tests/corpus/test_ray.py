"""The same plan on a Ray cluster, of this machine."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import codec
from bench.random_weights import SMALL, write_weights
from codec.corpus.items import Item
from codec.corpus.ray_executor import cluster
from codec.corpus.rows import Settings
from codec.corpus.sources import find_items
from codec.errors import OutputError
from tests.helpers.corpora import shards

pytest.importorskip("ray", reason="ray is not installed: pip install 'codec[ray]'")
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("form", ["{}", "ray://{}"])
def test_an_address_where_nothing_answers_ends_the_run_at_once(cli, tmp_path, monkeypatch, form):
    with socket.socket() as bound:  # a port that is taken, but not listened at
        bound.bind(("127.0.0.1", 0))
        address = form.format(f"127.0.0.1:{bound.getsockname()[1]}")
        monkeypatch.setenv("RAY_ADDRESS", address)
        code, _, err = cli("tokenize", tmp_path, "-o", tmp_path / "out", "--executor", "ray")
    assert code == 1
    assert err.splitlines() == [
        f"codec: Ray: connecting to {address}",
        f"codec: Ray: no cluster at {address}: connection refused",
    ]


@pytest.mark.parametrize("address", ["[::1]:0", "no.such.host.invalid:6379", "127.0.0.1:99999"])
def test_other_wrong_addresses_are_named(address):
    with pytest.raises(OutputError, match="Ray: no cluster at " + re.escape(address)):
        cluster("default", address)


def test_what_ray_says_of_an_address_is_one_line():
    item = Item("a.wav", "a.wav")
    execute = cluster("default", "nonsense")
    with pytest.raises(OutputError, match="Ray: Invalid address format: nonsense"):
        next(execute(None, None, [item]))


@pytest.mark.slow
def test_an_executor_that_is_left_early_ends_its_cluster(tmp_path, monkeypatch):
    """Ray's threads otherwise outlive the interpreter, which crashes at times."""
    import ray

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    weights = write_weights(tmp_path / "w.safetensors", SMALL)
    (tmp_path / "in").mkdir()
    for i in range(4):
        soundfile.write(tmp_path / f"in/{i}.wav", np.zeros(2400), 24_000)
    items = find_items([str(tmp_path / "in")])
    results = cluster(str(weights))(codec.load(str(weights)), Settings(2), items)
    assert next(results).item.name == "0.wav"
    assert ray.is_initialized()
    results.close()
    assert not ray.is_initialized()


@pytest.mark.slow
def test_cluster_with_a_killed_worker_gives_the_same_bytes(tmp_path):
    weights = write_weights(tmp_path / "w.safetensors", SMALL)
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for i in range(96):
        soundfile.write(tmp_path / f"in/{i}.wav", rng.uniform(-0.5, 0.5, 24_000 * 3), 24_000)
    (tmp_path / "in/bad.wav").write_bytes(b"RIFF")
    (tmp_path / "sitecustomize.py").write_text(KILLED)

    def start(out: str, *options: str) -> subprocess.Popen[bytes]:
        command = [
            *(sys.executable, "-m", "codec", "tokenize", "in", "--format", "bin", "-q"),
            *("-o", out, "--shard-items", "10", "--model", str(weights), *options),
        ]
        environment = os.environ | {
            "PYTHONPATH": f"{tmp_path}:{ROOT}",
            "KILLED_MARK": str(tmp_path / "killed"),
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
        _, said = ray.communicate(timeout=600)
    finally:
        if ray.poll() is None:
            ray.kill()
    assert ray.returncode == 0, said.decode()
    assert (tmp_path / "killed").exists(), "no worker was killed"
    assert shards(tmp_path / "ray") == shards(tmp_path / "local")
    for name in ("dataset.json", "rejects.jsonl"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()


# The worker that is first to reach the fifth clip of its first shard dies there, as by a kill.
KILLED = """
import os, signal, sys
if any("default_worker" in argument for argument in sys.orig_argv):
    import codec.corpus.rows as rows
    tokenize, calls = rows.tokenize, []
    def killed(*arguments):
        calls.append(1)
        if len(calls) == 5:
            try:
                open(os.environ["KILLED_MARK"], "x").close()
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return tokenize(*arguments)
    rows.tokenize = killed
"""
