"""The clips to compare codecs on."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from codec.audio import READ_SUFFIXES, read_audio, resample
from codec.errors import AudioError, DataError
from codec.quality.pair import Audio

SAMPLE_RATE = 24_000  # at which everything is compared

KINDS = ("speech", "music", "general")
OTHER = "audio"


@dataclasses.dataclass(frozen=True)
class Source:
    """A file to be read. name: its stem, made unique."""

    name: str
    path: Path
    kind: str
    text: str | None = None


def find_sources(
    inputs: Sequence[Path], kind: str | None = None, transcripts: Path | None = None
) -> list[Source]:
    """The audio files among `inputs`, and right in the folders among them, by kind, then name.

    kind: of all; by default a file's is the first part of its name ("music_3.flac") if that is one
    of KINDS, "speech" if it has a transcript, else OTHER. transcripts: a table with tabs between
    its columns, a header, and columns "path" and "text"; it counts by the files' names. Raises
    DataError.
    """
    texts = _read_transcripts(transcripts) if transcripts else {}
    paths: list[Path] = []
    for given in inputs:
        if given.is_dir():
            inside = (p for p in given.iterdir() if p.suffix.lower() in READ_SUFFIXES)
            paths += sorted(p for p in inside if p.is_file() and not p.name.startswith("."))
        elif given.exists():
            paths.append(given)
        else:
            raise DataError(f"{given}: no such file or folder")
    if not paths:
        raise DataError(f"no audio files in {', '.join(map(str, inputs)) or 'nothing'}")
    taken: set[str] = set()
    sources = []
    for path in dict.fromkeys(paths):
        name, number = path.stem, 2
        while name.casefold() in taken:  # some file systems do not tell A from a
            name, number = f"{path.stem}-{number}", number + 1
        taken.add(name.casefold())
        text = texts.get(path.name)
        sources.append(Source(name, path, kind or kind_of(path.stem, text), text))
    order = (*KINDS, OTHER)
    known = {kind: number for number, kind in enumerate(order)}
    return sorted(sources, key=lambda s: (known.get(s.kind, len(order)), s.kind, s.name))


def kind_of(stem: str, text: str | None = None) -> str:
    """One of KINDS by the first part of a name, else OTHER, or "speech" if there is `text`."""
    prefix = stem.split("_")[0].casefold()
    return prefix if prefix in KINDS else "speech" if text else OTHER


def read_clip(source: Source) -> Audio:
    """float32 [samples] at SAMPLE_RATE, channels averaged. Raises AudioError."""
    try:
        channels, rate = read_audio(source.path)
    except OSError as error:
        raise AudioError(error.strerror or str(error)) from None
    audio = resample(channels.mean(axis=0), rate, SAMPLE_RATE)
    if not audio.any():
        raise AudioError("silent from end to end: nothing to compare")
    return audio


def fingerprint(audio: Audio) -> str:
    """16 hex digits of what is in a clip."""
    return hashlib.sha256(np.ascontiguousarray(audio, "<f4").tobytes()).hexdigest()[:16]


def readable(sources: Sequence[Source]) -> Iterator[tuple[Source, Audio | None, str]]:
    """Each source with its audio, or None and why in one line."""
    for source in sources:
        try:
            yield source, read_clip(source), ""
        except AudioError as error:
            yield source, None, str(error)


def _read_transcripts(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not rows or not {"path", "text"} <= rows[0].keys():
        raise DataError(f'{path}: needs columns "path" and "text", with tabs between')
    return {Path(row["path"]).name: row["text"] or "" for row in rows}
