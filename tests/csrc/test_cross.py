"""Engine and entropy coders give the same bits from every compiler and on another processor.

tests/csrc/cross/*_hash.c run them on generated numbers and print a hash for each instruction set.
Here they are built by the compilers that are found: for this machine, and for aarch64 to run under
qemu-user (Debian: apt install gcc-aarch64-linux-gnu qemu-user; zig's clang does for both).
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"
# program: its sources beside its own, and what its lines begin with
PROGRAMS = {
    "engine": (
        [path for f in ("engine", "kernels", "rvq") for path in sorted((CSRC / f).glob("*.c"))],
        "12 frames 11520 samples ",
    ),
    "entropy": (
        [path for f in ("entropy", "kernels") for path in sorted((CSRC / f).glob("*.c"))],
        "252 and 288 bytes ",
    ),
}
FLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Werror"]
ZIG = [sys.executable, "-m", "ziglang", "cc"] if importlib.util.find_spec("ziglang") else None
ARM_ZIG = [*ZIG, "-target", "aarch64-linux-musl"] if ZIG else None
QEMU = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
# name: compiler, what runs the program
BUILDS: dict[str, tuple[list[str] | None, list[str] | None]] = {
    "clang": ([shutil.which("clang") or ""] if shutil.which("clang") else ZIG, []),
    "aarch64": (
        [gcc] if (gcc := shutil.which("aarch64-linux-gnu-gcc")) else ARM_ZIG,
        [QEMU] if QEMU else None,
    ),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
]


def hashes(name: str, folder: Path, compiler: list[str], runner: list[str]) -> dict[str, str]:
    """{instruction set: what the program printed of it}."""
    program = folder / name
    sources = [Path(__file__).parent / "cross" / f"{name}_hash.c", *PROGRAMS[name][0]]
    command = [*compiler, *FLAGS, "-static", f"-I{CSRC}", *map(str, sources)]
    subprocess.run([*command, "-o", str(program), "-lm"], check=True)
    result = subprocess.run([*runner, str(program)], check=True, capture_output=True, text=True)
    lines = (line.split(" ", 1) for line in result.stdout.splitlines())
    return dict(lines)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=PROGRAMS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """Its name, and what it prints when gcc has built it, for every instruction set alike."""
    name: str = request.param
    found = hashes(name, tmp_path_factory.mktemp("gcc"), ["gcc"], [])
    assert len(set(found.values())) == 1, found
    assert found["scalar"].startswith(PROGRAMS[name][1])
    return name, found["scalar"]


@pytest.mark.parametrize("name", BUILDS)
def test_other_builds_give_the_same_bits(
    program: tuple[str, str], tmp_path: Path, name: str
) -> None:
    compiler, runner = BUILDS[name]
    if compiler is None or runner is None:
        pytest.skip(f"no compiler or runner for {name}")
    source, reference = program
    found = hashes(source, tmp_path, compiler, runner)
    assert len(found) >= 2 or name == "clang"
    assert set(found.values()) == {reference}, found
