"""The command before and after its work: Ctrl-C while it is loaded, and when it has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import codec

ROOT = Path(codec.__file__).parents[1]
# In place of a package that the command loads: Ctrl-C strikes, then the package is loaded.
STRUCK = """
import os, signal, sys
os.kill(os.getpid(), signal.SIGINT)
sys.path.remove({folder!r})
del sys.modules[{name!r}]
import {name}
"""
AT_EXIT = """
import atexit, os, signal
atexit.register(os.kill, os.getpid(), signal.SIGINT)
"""
IGNORING = """
import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.exit(subprocess.call(sys.argv[1:]))
"""


def run(folder: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """Run `codec --version` with the modules of `folder` in place of others."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [*before, sys.executable, "-m", "codec", "--version"],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip


def strike(folder: Path, name: str) -> None:
    (folder / f"{name}.py").write_text(STRUCK.format(folder=str(folder), name=name))


def test_ctrl_c_while_the_command_is_loaded_ends_it_quietly(tmp_path: Path) -> None:
    strike(tmp_path, "click")
    done = run(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_ctrl_c_while_the_packages_of_a_command_are_loaded_is_told(tmp_path: Path) -> None:
    strike(tmp_path, "numpy")
    done = run(tmp_path)
    assert (done.returncode, done.stderr.strip()) == (130, "codec: interrupted")


@pytest.mark.parametrize("name", ["click", "numpy"])
def test_in_the_background_ctrl_c_stays_ignored(tmp_path: Path, name: str) -> None:
    strike(tmp_path, name)
    done = run(tmp_path, sys.executable, "-c", IGNORING)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"codec {codec.__version__}\n")


def test_ctrl_c_at_the_very_end_is_quiet(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(AT_EXIT)
    done = run(tmp_path)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
