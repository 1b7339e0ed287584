"""Find and read the clips that codecs are compared on."""

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

SAMPLE_RATE = 24_000  # of every comparison

KINDS = ("speech", "music", "general")
OTHER = "audio"


@dataclasses.dataclass(frozen=True)
class Source:
    """A file to read. name: its stem, made unique."""

    name: str
    path: Path
    kind: str
    text: str | None = None


def find_sources(
    inputs: Sequence[Path], kind: str | None = None, transcripts: Path | None = None
) -> list[Source]:
    """Find the audio files in `inputs`, and directly in their folders, sorted by kind, then name.

    kind: of all files. By default, the first part of a file's name ("music_3.flac") if it is one of
    KINDS, "speech" if the file has a transcript, else OTHER. transcripts: a tab-separated table
    with a header and the columns "path" and "text", matched by file name. Raises DataError.
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
        while name.casefold() in taken:  # some file systems ignore case
            name, number = f"{path.stem}-{number}", number + 1
        taken.add(name.casefold())
        text = texts.get(path.name)
        sources.append(Source(name, path, kind or kind_of(path.stem, text), text))
    order = (*KINDS, OTHER)
    known = {kind: number for number, kind in enumerate(order)}
    return sorted(sources, key=lambda s: (known.get(s.kind, len(order)), s.kind, s.name))


def kind_of(stem: str, text: str | None = None) -> str:
    """Return the kind from the first part of a name, else "speech" with a `text`, else OTHER."""
    prefix = stem.split("_")[0].casefold()
    return prefix if prefix in KINDS else "speech" if text else OTHER


def read_clip(source: Source) -> Audio:
    """Read a clip: float32 [samples] at SAMPLE_RATE, channels averaged. Raises AudioError."""
    try:
        channels, rate = read_audio(source.path)
    except OSError as error:
        raise AudioError(error.strerror or str(error)) from None
    audio = resample(channels.mean(axis=0), rate, SAMPLE_RATE)
    if not audio.any():
        raise AudioError("the clip is silent: nothing can be compared")
    return audio


def fingerprint(audio: Audio) -> str:
    """Return 16 hex digits of the hash of a clip's samples."""
    return hashlib.sha256(np.ascontiguousarray(audio, "<f4").tobytes()).hexdigest()[:16]


def readable(sources: Sequence[Source]) -> Iterator[tuple[Source, Audio | None, str]]:
    """Give each source with its audio, or with None and the reason in one line."""
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
