"""Which output belongs to which input."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from codec.audio.folders import find_audio, passed_over
from codec.audio.formats import READ_SUFFIXES
from codec.errors import OutputError
from codec.support.walk import Found, walk

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
    """An input that is left out, and the reason in one line.

    lost: whether that is an error, rather than a thing that is no file of audio at all. counted:
        whether it stands for one input.
    """

    name: str
    message: str
    lost: bool = True
    counted: bool = True


def plan(
    inputs: Sequence[str], output: str | None, suffixes: Collection[str], new_suffix: str
) -> tuple[list[Job], list[Failure]]:
    """Plan the jobs for `inputs` (files, folders, "-"); return them, and the inputs left out.

    A file is taken whatever its name; of a folder, all files below it with one of `suffixes`,
    hidden ones left out (see `codec.support.walk`), and if these are READ_SUFFIXES, also those that
    begin as audio does (see `codec.audio.folders`). Outputs lie beside their inputs with
    `new_suffix`, or under the folder `output`, where what came from a folder keeps its place in it.
    With a single input that is a file, `output` may be a file or "-". Raises OutputError if many
    inputs have one output.
    """
    many = len(inputs) > 1 or any(os.path.isdir(name) for name in inputs if name != "-")  # noqa: PTH112
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
        sources, troubles = _sources(root, suffixes)
        failures += troubles
        for source in sources:
            place = source.relative_to(root) if source != root else Path(source.name)
            target = renamed(folder / place if folder else source, new_suffix, suffixes)
            if output == "-":
                jobs.append(Job(source, None))
            elif (owner := owners.setdefault(target, source)) is not source:
                failures.append(Failure(str(source), f"{target} is already the output of {owner}"))
            else:
                jobs.append(Job(source, target))
    return jobs, failures


def readings(inputs: Sequence[str], suffixes: Collection[str]) -> tuple[list[Job], list[Failure]]:
    """Plan to read `inputs` without writing: as `plan`, but no input stands in the way of another.

    The targets are None. A file that is given twice is read twice.
    """
    jobs: list[Job] = []
    failures: list[Failure] = []
    for name in inputs:
        if name == "-":
            jobs.append(Job(None, None))
            continue
        sources, troubles = _sources(Path(name), suffixes)
        failures += troubles
        jobs += [Job(source, None) for source in sources]
    return jobs, failures


def renamed(path: Path, new_suffix: str, suffixes: Collection[str] = ()) -> Path:
    """Replace the extension of `path` by `new_suffix`, or append that if it has none.

    An extension is one of `suffixes`, or of those that audio goes by: "Dr. Smith" has none.
    """
    known = path.suffix.lower()
    if known in suffixes or known in _AUDIO_SUFFIXES or known == SUFFIX:
        return path.with_suffix(new_suffix)
    return path.with_name(path.name + new_suffix)


# fmt: off
_AUDIO_SUFFIXES = READ_SUFFIXES | {
    ".3gp", ".aac", ".ac3", ".amr", ".ape", ".avi", ".bin", ".bw64", ".dat", ".dff", ".dsf",
    ".eac3", ".flv", ".gsm", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov", ".mp1", ".mp2", ".mp4",
    ".mpeg", ".mpg", ".mpga", ".nist", ".ogv", ".oma", ".pcm", ".ra", ".raw", ".sph", ".spx",
    ".tta", ".txt", ".voc", ".weba", ".webm", ".wma", ".wmv", ".wv",
}
# fmt: on


def _plan_one(name: str, target: Path) -> tuple[list[Job], list[Failure]]:
    source = None if name == "-" else Path(name)
    if source and (reason := _missing(source)):
        return [], [Failure(name, reason)]
    return [Job(source, target)], []


def _sources(root: Path, suffixes: Collection[str]) -> tuple[list[Path], list[Failure]]:
    """Find the files that `root` stands for, and what is wrong with it."""
    if reason := _missing(root):
        return [], [Failure(str(root), reason)]
    if not root.is_dir():
        return [root], []
    found, troubles = _below(root, suffixes)
    if not found and not troubles:
        known = " ".join(sorted(suffixes))
        return [], [Failure(str(root), f"no {known} files in this folder")]
    sources = sorted(item.path for item in found if not item.trouble)
    troubles += [Failure(str(f.path), f.trouble, f.lost) for f in found if f.trouble]
    return sources, troubles


def _below(root: Path, suffixes: Collection[str]) -> tuple[list[Found], list[Failure]]:
    """Find the wanted files below a folder, and the failures among the rest."""
    if suffixes != READ_SUFFIXES:
        return list(walk(root, lambda name: Path(name).suffix.lower() in suffixes)), []
    found, others = find_audio(root)
    others = [path.relative_to(root) for path in others if path.suffix.lower() != SUFFIX]
    if not others:
        return found, []
    if not found:
        return [], [Failure(str(root), f"no audio in this folder: {passed_over(others)}")]
    return found, [Failure(str(root), passed_over(others), lost=False, counted=False)]


def _missing(path: Path) -> str | None:
    """Say why `path` does not exist, None if it does."""
    try:
        path.stat()
    except FileNotFoundError:
        return "a link that leads nowhere" if path.is_symlink() else "no such file or folder"
    except (OSError, ValueError) as error:
        return (getattr(error, "strerror", None) or str(error)).lower()
    return None
