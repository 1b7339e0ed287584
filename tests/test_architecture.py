"""Imports go down: no circle, no arrow to a higher floor, torch only where it has a place."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "codec"

# From the ground up. A module may import from its own folder and from the floors below its own;
# rooms on one floor do not know each other.
FLOORS = (
    ("errors",),
    ("support",),
    ("model",),
    ("kernels",),
    ("mel", "rvq", "coders", "audio", "nn", "adapters"),
    ("engine", "nac", "quality"),
    ("pipeline",),
    ("tokens",),
    ("api",),
    ("lm", "files", "training"),
    ("corpus", "benchmark"),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# What users import; every other module lies in a folder.
PUBLIC = {"__init__", "__main__", "api", "errors", "mel", "rvq", "tokens"}

TORCH = {"benchmark/peers", "corpus/dataset", "cli/train", "kernels/torch_ops", "kernels/cuda_ops"}
TORCH |= {"engine/torch_ops"}
TORCH |= {"adapters", "nn", "training", "lm/model", "cli/language", "cli/speech"}
TORCH |= {"support/scalars", "engine/torch_ops"}
TORCH |= {"lm/speech/durations", "lm/speech/phone_model", "lm/speech/voices", "lm/speech/speak"}

MODULE = re.compile(r"codec(\.\w+)+")


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("codec", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def named(path: Path) -> Iterator[str]:
    """What `path` imports, at once or when called, and every string that could name a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value.partition(":")[0]
            if MODULE.fullmatch(text):
                yield text


@functools.cache
def arrows() -> frozenset[tuple[str, str]]:
    """Pairs of modules of codec: the first names the second."""
    known = modules()
    known |= {f"codec.{path.parent.name}.{path.stem}": path for path in ROOT.rglob("*.pyx")}
    found = set()
    for module, path in modules().items():
        for name in named(path):
            while name not in known and "." in name:  # a function or class of a module
                name = name.rpartition(".")[0]
            if name in known and name != module:
                found.add((module, name))
    return frozenset(found)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "codec"


def circles(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows left when those that begin or end a path are taken away, again and again."""
    while True:
        sources, targets = ({pair[end] for pair in pairs} for end in (0, 1))
        left = {(one, other) for one, other in pairs if one in targets and other in sources}
        if left == pairs:
            return pairs
        pairs = left


def lines(pairs: set[tuple[str, str]]) -> str:
    return "\n".join(f"{source} -> {target}" for source, target in sorted(pairs))


def test_no_circle_of_files() -> None:
    inner = {pair for pair in arrows() if "codec" not in pair}
    assert len(inner) > 200
    assert not circles(inner), lines(circles(inner))


def test_imports_go_down() -> None:
    wrong = {
        (source, target)
        for source, target in arrows()
        if source != "codec"
        and room(source) != room(target)
        and not (target != "codec" and FLOOR[room(target)] < FLOOR[room(source)])
    }
    assert not wrong, lines(wrong)


def test_only_public_modules_lie_flat() -> None:
    assert {path.stem for path in ROOT.glob("*.py")} == PUBLIC


def test_torch_stays_in_its_rooms() -> None:
    wrong = []
    for path in modules().values():
        place = path.relative_to(ROOT).with_suffix("").as_posix()
        allowed = any(place == room or place.startswith(f"{room}/") for room in TORCH)
        if not allowed and any(name.partition(".")[0] == "torch" for name in named(path)):
            wrong.append(place)
    assert not wrong, wrong


def test_the_checks_find_what_they_look_for() -> None:
    assert circles({("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")}) == {("b", "c"), ("c", "b")}
    assert not circles({("a", "b"), ("b", "c"), ("a", "c")})
    assert ("codec.mel", "codec.kernels.torch_ops") in arrows()  # named by a string
    assert ("codec.kernels.mel_exact", "codec.kernels._native") in arrows()


def test_no_test_imports_from_another() -> None:
    """What tests share lies in tests/helpers, or is a fixture."""
    for path in sorted((ROOT.parent / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: a relative import"
                last = str(node.module).rpartition(".")[2]
                assert not last.startswith(("test_", "conftest")), f"{path}: {node.module}"
