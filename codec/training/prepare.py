"""Training data: a folder of any audio becomes one int16 memory map and an index, once.

    out/audio.i16    every file's samples, mono, or left and right in turn, one after another,
                     little-endian int16
    out/index.json   which samples belong to which file, and what was measured on the way

While work goes on there are `audio.i16.part` and `journal.jsonl` instead: one line for the source's
fingerprint, then one for each file whose samples are on disk. A run that was killed cuts the
audio back to what the journal vouches for and goes on; its result is, byte for byte, that of a run
that was never interrupted.

Needs numpy, soundfile and soxr only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt

from codec.audio import folders
from codec.errors import DataError
from codec.support.journal import Journal, write_through
from codec.support.terminal import shown
from codec.support.workers import Workers, usable_cores
from codec.training.decoders import Decoders
from codec.training.decoding import FULL_SCALE as FULL_SCALE
from codec.training.decoding import Unusable, decode

VERSION = 1
AUDIO_NAME = "audio.i16"
INDEX_NAME = "index.json"
PART_NAME = "audio.i16.part"
JOURNAL_NAME = "journal.jsonl"

AHEAD_PREFIX = "decoding-"  # of folders for what is decoded before its turn

WORTH_PROCESSES = 8 << 20  # bytes of source; with less, processes take longer to start than to work
COPY_BYTES = 1 << 20

Progress = Callable[[str, int, int, float], None]
Entry = dict[str, Any]  # the fields of an AudioEntry, or some of them
Target = TypeVar("Target")


@dataclasses.dataclass(frozen=True)
class AudioEntry:
    """One source file inside the memory map."""

    path: str  # relative to the source folder, with forward slashes
    group: str  # first folder level, or the kind that was chosen for the whole folder
    offset: int  # first sample in the memory map
    samples: int
    source_sample_rate: int
    source_channels: int
    full_band: bool  # energy above 8 kHz was measured, see `is_full_band`
    peak: float  # of the resampled signal; above 1 means that samples were clipped
    rms: float
    warning: str = ""  # what is missing of the file or damaged


@dataclasses.dataclass(frozen=True)
class PreparedAudio:
    """A prepared folder: what is in the memory map, and where."""

    folder: Path
    sample_rate: int
    files: tuple[AudioEntry, ...]
    skipped: tuple[tuple[str, str], ...]  # (path, why)
    fingerprint: str
    channels: int = 1
    unread: int = 0  # files, folders and links that could not be read when this was prepared

    @property
    def n_samples(self) -> int:
        """Samples of each channel."""
        return sum(entry.samples for entry in self.files)

    @property
    def seconds(self) -> float:
        return self.n_samples / self.sample_rate

    def audio(self) -> npt.NDArray[np.int16]:
        """The memory map, read-only int16 [n_samples], or [n_samples, 2]; 32768 is full scale."""
        flat = np.memmap(self.folder / AUDIO_NAME, dtype="<i2", mode="r")
        return flat if self.channels == 1 else flat.reshape(-1, self.channels)


def prepare(
    source: Path,
    out: Path,
    sample_rate: int = 24_000,
    *,
    channels: int = 1,
    kind: str | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
    report: Callable[[str], None] | None = None,
    check: Callable[[list[str]], None] = lambda names: None,
) -> PreparedAudio:
    """Decode every audio file under `source` into `out/audio.i16` and `out/index.json`.

    Files are told by suffix or else by content (`codec.audio.folders`) and read by `AudioReader`.
    Each file is averaged over its channels (so what is opposite in phase cancels, as in any mono
    mix), or with `channels` = 2 keeps its first two (a file of one has it in both). It is resampled
    to `sample_rate` and rounded to int16, in blocks: memory does not grow with the length of a
    file. `kind` names the group of all files; without it the first folder level does. `jobs`
    processes decode side by side (default: one for each core that may be used, or none where there
    is little to do); their number does not change a byte of the result.

    `progress(path, bytes_done, bytes_total, seconds)` is called after each source file, with the
    seconds of audio in it, and `report(line)` for each file left out because it is unreadable,
    empty, silent, not finite or far over full scale, which the index lists too, for each that is
    cut off or damaged, and for what is no file or not audio (default: print to stderr).
    `check(paths)` is called with the source files' paths within `source` before any is decoded, to
    raise if they do not fit.

    An `out` prepared from the same files (names, sizes, modification times) with the same options
    is returned at once. An interrupted preparation is taken up where it stopped.
    Raises DataError if `source` has no usable audio, OutputError if another process works on `out`.
    """
    report = report or (lambda line: print(line, file=sys.stderr))
    sources, unread = find_audio(source, report)
    check([path.relative_to(source).as_posix() for path in sources])
    fingerprint = _fingerprint(source, sources, sample_rate, channels, kind)
    width = 2 * channels
    with contextlib.suppress(DataError):
        ready = open_prepared(out)
        if ready.fingerprint == fingerprint:
            return dataclasses.replace(ready, unread=ready.unread + unread)

    out.mkdir(parents=True, exist_ok=True)
    sizes = [path.stat().st_size for path in sources]
    done_bytes = list(itertools.accumulate(sizes))
    with _opened(out, fingerprint, width) as (audio, journal):
        offset, first = audio.tell() // width, len(journal.records)
        processes = _count_processes(jobs, sizes[first:])
        wanted = (sample_rate, channels)
        with _decoded(sources[first:], audio, wanted, processes, out) as decoded:
            for number, result in enumerate(decoded, first):
                name = sources[number].relative_to(source).as_posix()
                if isinstance(result, Unusable):
                    audio.truncate(offset * width)
                    audio.seek(offset * width)
                    report(f"skipped {shown(name)}: {shown(result)}")
                    line: dict[str, Any] = {"path": name, "skipped": str(result)}
                    if result.unread:
                        line["unread"] = True
                else:
                    group = kind or (name.split("/")[0] if "/" in name else "audio")
                    line = {"path": name, "group": group, "offset": offset, **result}
                    offset += result["samples"]
                    if warning := result.get("warning"):
                        report(f"{shown(name)}: {warning}")
                write_through(audio)
                journal.add(line)
                if progress is not None:
                    seconds = line.get("samples", 0) / sample_rate
                    progress(name, done_bytes[number], done_bytes[-1], seconds)
        if not offset:
            raise DataError(f"no usable audio in {source}: all {len(sources)} files were skipped")
        _publish(out, journal.records, wanted, fingerprint)
    prepared = open_prepared(out)
    return dataclasses.replace(prepared, unread=prepared.unread + unread)


def open_prepared(folder: Path) -> PreparedAudio:
    """The result of an earlier `prepare`. Raises DataError if it is missing, damaged or newer."""
    try:
        index = json.loads((folder / INDEX_NAME).read_text(encoding="utf-8"))
        if index["version"] != VERSION:
            raise DataError(f"{folder}: prepared in format {index['version']}, this is {VERSION}")
        prepared = PreparedAudio(
            folder=folder,
            sample_rate=int(index["sample_rate"]),
            files=tuple(AudioEntry(**entry) for entry in index["files"]),
            skipped=tuple((line["path"], line["reason"]) for line in index["skipped"]),
            fingerprint=str(index["fingerprint"]),
            channels=int(index.get("channels", 1)),
            unread=sum("unread" in line for line in index["skipped"]),
        )
        size = (folder / AUDIO_NAME).stat().st_size
    except FileNotFoundError as error:
        raise DataError(f"not prepared: {error.filename} is missing") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / INDEX_NAME} is damaged: {error}") from None
    wanted = prepared.n_samples * 2 * prepared.channels
    if size != wanted:
        raise DataError(f"{folder / AUDIO_NAME} has {size} bytes, the index says {wanted}")
    return prepared


def find_audio(
    source: Path, report: Callable[[str], None] = lambda line: None
) -> tuple[list[Path], int]:
    """Find the audio files under `source`, sorted by path, and `report` what is left out.

    Also counts the files, folders and links that cannot be read, behind which audio may be.
    Raises DataError if there are no files, or only a preparation that was interrupted.
    """
    if not source.is_dir():
        raise DataError(f"{source} is not a folder")
    found, others = folders.find_audio(source)
    for item in found:
        if item.trouble:
            report(f"skipped {shown(item.path.relative_to(source))}: {item.trouble}")
    told = folders.passed_over([path.relative_to(source) for path in others]) if others else ""
    paths = [item.path for item in found if not item.trouble]
    if not paths and _is_unfinished(source):
        raise DataError(
            f"{source}: the preparation is unfinished: the same codec prepare continues it"
        )
    if not paths:
        raise DataError(f"no audio files in {source}{': ' if told else ''}{told}")
    if told:
        report(told)
    paths.sort(key=lambda path: path.relative_to(source).as_posix())
    return paths, sum(item.lost for item in found)


def _is_unfinished(folder: Path) -> bool:
    """Tell whether `folder` holds a preparation that was interrupted, the first or a later one."""
    # Without its part the audio was renamed, and the index was not.
    return (folder / JOURNAL_NAME).is_file() and any(
        (folder / name).is_file() for name in (PART_NAME, AUDIO_NAME)
    )


def _count_processes(jobs: int | None, sizes: list[int]) -> int:
    """Choose the number of processes for files of so many bytes; 1: the caller's own."""
    if jobs is not None and jobs < 1:
        raise DataError(f"cannot decode in {jobs} processes")
    if jobs is None:
        jobs = usable_cores() if sum(sizes) > WORTH_PROCESSES else 1
    return max(1, min(jobs, len(sizes)))


@contextlib.contextmanager
def _decoded(
    sources: list[Path], audio: IO[bytes], wanted: tuple[int, int], processes: int, out: Path
) -> Iterator[Iterator[Entry | Unusable]]:
    """Decode `sources` to the end of `audio`, each when its entry is asked for, in their order.

    wanted: the rate and the number of channels. With several processes each file is decoded to one
    of its own in `out`, at most two for each process ahead of the one asked for.
    """
    if processes == 1:
        yield (_attempt(decode, path, audio, wanted) for path in sources)
        return
    with (
        tempfile.TemporaryDirectory(dir=out, prefix=AHEAD_PREFIX) as folder,
        Workers(processes) as workers,
        Decoders(processes) as decoders,
    ):
        targets = [Path(folder) / f"{number}.i16" for number in range(len(sources))]
        calls = (
            functools.partial(_attempt, decoders.decode, path, target, wanted)
            for path, target in zip(sources, targets, strict=True)
        )
        yield _joined(workers.run(calls), targets, audio)


def _attempt(
    call: Callable[[Path, Target, int, int], Entry],
    path: Path,
    target: Target,
    wanted: tuple[int, int],
) -> Entry | Unusable:
    """Decode `path` to `target` by `call`; the entry, or why there is none."""
    try:
        return call(path, target, *wanted)
    except Unusable as error:
        return error


def _joined(
    results: Iterator[Entry | Unusable], targets: list[Path], audio: IO[bytes]
) -> Iterator[Entry | Unusable]:
    """Append each of `targets` to `audio` when its result is there, and remove it."""
    for result, target in zip(results, targets, strict=True):
        if not isinstance(result, Unusable):
            with target.open("rb") as file:
                shutil.copyfileobj(file, audio, COPY_BYTES)
        target.unlink()
        yield result


def _fingerprint(
    source: Path, sources: list[Path], sample_rate: int, channels: int, kind: str | None
) -> str:
    options = [VERSION, sample_rate, kind, *([channels] if channels != 1 else [])]
    digest = hashlib.sha256(json.dumps(options).encode())
    for path in sources:
        stat = path.stat()
        name = path.relative_to(source).as_posix()
        digest.update(json.dumps([name, stat.st_size, stat.st_mtime_ns]).encode())
    return digest.hexdigest()


@contextlib.contextmanager
def _opened(out: Path, fingerprint: str, width: int) -> Iterator[tuple[IO[bytes], Journal]]:
    """Open the part file and the journal, for one process at a time; width: bytes a sample.

    Both are cut back to the records whose samples are in the part file. The audio of a record is on
    disk before the record is, so only audio without a record can be torn.
    """
    with Journal(out / JOURNAL_NAME, {"fingerprint": fingerprint}) as journal:
        for folder in out.glob(AHEAD_PREFIX + "*"):  # of a process that was killed
            shutil.rmtree(folder, ignore_errors=True)
        (out / PART_NAME).touch()
        with (out / PART_NAME).open("r+b") as audio:
            available = audio.seek(0, os.SEEK_END) // width
            ends = itertools.accumulate(line.get("samples", 0) for line in journal.records)
            held = list(itertools.takewhile(lambda end: end <= available, ends))
            journal.keep(len(held))
            audio.truncate(width * (held[-1] if held else 0))
            audio.seek(0, os.SEEK_END)
            yield audio, journal


def _publish(
    out: Path, lines: list[dict[str, Any]], wanted: tuple[int, int], fingerprint: str
) -> None:
    """Rename the finished audio into place, then the index that makes it valid."""
    sample_rate, channels = wanted
    index = {
        "version": VERSION,
        "sample_rate": sample_rate,
        **({"channels": channels} if channels != 1 else {}),
        "fingerprint": fingerprint,
        "files": [line for line in lines if "skipped" not in line],
        "skipped": [
            {"path": line["path"], "reason": line["skipped"]}
            | ({"unread": True} if "unread" in line else {})
            for line in lines
            if "skipped" in line
        ],
    }
    part = out / (INDEX_NAME + ".part")
    with part.open("wb") as file:
        write_through(file, json.dumps(index, indent=1).encode() + b"\n")
    # An older index must not outlive the audio that it describes.
    (out / INDEX_NAME).unlink(missing_ok=True)
    (out / PART_NAME).replace(out / AUDIO_NAME)
    part.replace(out / INDEX_NAME)
    (out / JOURNAL_NAME).unlink()
