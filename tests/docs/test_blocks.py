"""The code blocks of README and docs run, page by page, in a temporary folder.

A comment before a block, which a rendered page does not show, says why it does not run here
(`<!-- not run: reason -->`) or which packages it needs (`<!-- needs: torch pyarrow -->`).
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile

import codec
from tests.helpers.cli import Cli

pytest.importorskip("codec.engine._engine", reason="the native engine was not built")

ROOT = Path(codec.__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
RATE = 24_000
BLOCK = re.compile(r"(?:<!-- (not run|needs): ([^\n]*) -->\n)?```(\w*)\n(.*?)\n```", re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, text, and what its comment says."""

    line: int
    language: str
    text: str
    not_run: str
    needs: tuple[str, ...]


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(text):
        kind, said, language, body = match.groups()
        line = text.count("\n", 0, match.start(4))
        needs = tuple(said.split()) if kind == "needs" else ()
        found.append(Block(line, language, body, said if kind == "not run" else "", needs))
    return found


def voice(seconds: float, pitch: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Harmonics that swell three times a second, float32 [samples]."""
    time = np.arange(round(seconds * RATE)) / RATE
    swell = np.sin(np.pi * 3 * time) ** 2
    tone = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in (1, 2, 3, 5, 8))
    return (0.2 * swell * tone).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the recordings that the pages name; it is the working folder."""
    soundfile.write(tmp_path / "talk.wav", voice(3, 120), RATE)
    for name, number in (("speech", 3), ("music", 2), ("recordings", 2)):
        (tmp_path / name).mkdir()
        for i in range(number):
            soundfile.write(tmp_path / name / f"{i}.flac", voice(2, 100 + 30 * i), RATE)
    command = tmp_path / "bin" / "codec"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m codec "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(line: str) -> list[str] | None:
    """Split a line that runs `codec` and asks nothing else of the shell; None for others."""
    if not line.startswith("codec ") or set("|&;<>()$`\\*?[]{}~!") & set(line.partition("#")[0]):
        return None
    return shlex.split(line, comments=True)[1:]


def run_shell(block: Block, names: dict[str, Any], page: Path, cli: Cli) -> None:
    """Run the lines in this process if they are commands of `codec`, else the block in bash."""
    lines = [line for line in block.text.splitlines() if line and not line.startswith("#")]
    if all(line.startswith("codec ") and not line.endswith("\\") for line in lines):
        for line in lines:
            if (given := words(line)) is None:
                run_bash(line, f"{page.name}:{block.line}")
            else:
                code, _, error = cli(*given)
                assert code == 0, f"{page.name}:{block.line}: {line}: {error}"
    else:
        run_bash(block.text, f"{page.name}:{block.line}")


def run_bash(text: str, place: str) -> None:
    command = ["bash", "-e", "-o", "pipefail", "-c", text]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{place}: {done.stderr}"


def run_python(block: Block, names: dict[str, Any], page: Path, cli: Cli) -> None:
    source = "\n" * (block.line - 1) + block.text  # so that a traceback names the page's line
    exec(compile(source, str(page), "exec"), names)


def run_c(block: Block, names: dict[str, Any], page: Path, cli: Cli) -> None:
    """Compile the block; what it declares and does not define stays open."""
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("needs a C compiler")
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'csrc' / 'include'}"]
    command = [compiler, *flags, "-x", "c", "-c", "-", "-o", "block.o"]
    done = subprocess.run(command, input=block.text, capture_output=True, text=True)
    assert done.returncode == 0, f"{page.name}:{block.line}: {done.stderr}"


RUN: dict[str, Callable[[Block, dict[str, Any], Path, Cli], None]] = {
    "c": run_c,
    "python": run_python,
    "sh": run_shell,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run(page: Path, folder: Path, cli_of_weights: Cli) -> None:
    audio, rate = soundfile.read(folder / "talk.wav", dtype="float32", always_2d=True)
    names: dict[str, Any] = {"audio": audio.T, "sample_rate": rate, "samples": audio[:, 0].copy()}
    for block in blocks(page):
        missing = [name for name in block.needs if importlib.util.find_spec(name) is None]
        if block.language in RUN and not block.not_run and not missing:
            RUN[block.language](block, names, page, cli_of_weights)


def test_every_block_says_what_it_is() -> None:
    for page in PAGES:
        for block in blocks(page):
            assert block.language in {*RUN, "text"} or page.name in ("format.md", "coders.md")


def test_most_blocks_run() -> None:
    found = [block for page in PAGES for block in blocks(page) if block.language in RUN]
    assert sum(not block.not_run for block in found) > len(found) / 2
