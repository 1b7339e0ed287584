"""Which output belongs to which input."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from codec.errors import OutputError

SUFFIX = ".nac"


@dataclasses.dataclass(frozen=True)
class Job:
    """One input and its output; None is standard input or output."""

    source: Path | None
    target: Path | None

    @property
    def name(self) -> str:
        return "standard input" if self.source is None else os.fspath(self.source)

    @property
    def n_bytes(self) -> int:
        """Size of the input, 0 if it is not known."""
        try:
            return self.source.stat().st_size if self.source else 0
        except OSError:
            return 0


@dataclasses.dataclass(frozen=True)
class Failure:
    """An input that could not be worked on, and why in one line."""

    name: str
    message: str


def plan(
    inputs: Sequence[str], output: str | None, suffixes: Collection[str], new_suffix: str
) -> tuple[list[Job], list[Failure]]:
    """The jobs for `inputs` (files, folders, "-"), and the inputs that are none.

    A file is taken whatever its name; of a folder, all files below it with one of `suffixes`,
    hidden ones left out. Outputs lie beside their inputs with `new_suffix`, or under the folder
    `output`, where what came from a folder keeps its place in it. With a single input that is a
    file, `output` may be a file or "-". Raises OutputError if many inputs have one output.
    """
    many = len(inputs) > 1 or any(Path(name).is_dir() for name in inputs if name != "-")
    folder = None if output in (None, "-") else Path(str(output))
    if many and (output == "-" or (folder and folder.exists() and not folder.is_dir())):
        raise OutputError(f"{output}: many inputs need a folder as their output")
    if folder and not many and not folder.is_dir() and not str(output).endswith(("/", os.sep)):
        return _plan_one(inputs[0], folder)

    jobs: list[Job] = []
    failures: list[Failure] = []
    owners: dict[Path, Path] = {}
    for name in inputs:
        if name == "-":
            jobs.append(Job(None, folder / f"stdin{new_suffix}" if folder else None))
            continue
        root = Path(name)
        sources = sorted(_files_below(root, suffixes)) if root.is_dir() else [root]
        if not sources:
            failures.append(Failure(name, f"no {' '.join(sorted(suffixes))} files in this folder"))
        for source in sources:
            if not source.exists():
                failures.append(Failure(name, "no such file or folder"))
                continue
            place = source.relative_to(root) if root.is_dir() else Path(source.name)
            target = (folder / place if folder else source).with_suffix(new_suffix)
            if output == "-":
                jobs.append(Job(source, None))
            elif (owner := owners.setdefault(target, source)) is not source:
                failures.append(Failure(str(source), f"{target} is already the output of {owner}"))
            else:
                jobs.append(Job(source, target))
    return jobs, failures


def _plan_one(name: str, target: Path) -> tuple[list[Job], list[Failure]]:
    source = None if name == "-" else Path(name)
    if source and not source.exists():
        return [], [Failure(name, "no such file or folder")]
    return [Job(source, target)], []


def _files_below(root: Path, suffixes: Collection[str]) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes:
                yield Path(folder, name)
