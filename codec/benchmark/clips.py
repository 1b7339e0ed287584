"""Find and read the clips that codecs are compared on."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from codec.audio import read_audio, resample
from codec.audio.folders import find_audio, passed_over
from codec.errors import AudioError, DataError
from codec.quality.pair import Audio
from codec.support.terminal import shown
from codec.support.walk import special

SAMPLE_RATE = 24_000  # of every comparison

KINDS = ("speech", "music", "general")
OTHER = "audio"

_LONGEST = 200  # bytes of a name


@dataclasses.dataclass(frozen=True)
class Source:
    """A file to read. name: its stem, cut if it is long, and made unique."""

    name: str
    path: Path
    kind: str
    text: str | None = None


def find_sources(
    inputs: Sequence[Path],
    kind: str | None = None,
    transcripts: Path | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> list[Source]:
    """Find the audio files in `inputs`, and below their folders, sorted by kind, then name.

    In folders, files are told by their suffix or else their content; see `codec.audio.folders`.
    What is not audio in them, or no file, is left out; report: called with a line for it.

    kind: of all files. By default what `transcripts` says, else the nearest folder that is named
    for one of KINDS ("Music/x.flac"), else the first part of a file's name ("music_3.flac") if it
    is one of KINDS, "speech" if the file has a transcript, else OTHER. transcripts: a tab-separated
    table with a header and the columns "path" and "text" or "kind" or both, matched by file name.
    Raises DataError.
    """
    table = _read_table(transcripts) if transcripts else {}
    paths: list[Path] = []
    for given in inputs:
        if given.is_dir():
            inside, others = find_audio(given)
            for found in inside:
                if found.trouble and not found.lost:
                    report(f"{shown(found.path)}: {found.trouble}")
            if others:
                passed = passed_over([path.relative_to(given) for path in others])
                report(f"{shown(given)}: {passed}")
            paths += sorted(found.path for found in inside if found.trouble is None or found.lost)
        elif not given.exists():
            raise DataError(f"{shown(given)}: no such file or folder")
        elif what := special(given):
            raise DataError(f"{shown(given)}: {what}, not a file")
        else:
            paths.append(given)
    if not paths:
        raise DataError(f"no audio files in {', '.join(map(shown, inputs)) or 'nothing'}")
    taken: set[str] = set()
    sources = []
    for path in dict.fromkeys(paths):
        stem = _short(shown(path.stem))
        name, number = stem, 2
        while name.casefold() in taken:  # some file systems ignore case
            name, number = f"{stem}-{number}", number + 1
        taken.add(name.casefold())
        said = table.get(path.name, {})
        text = said.get("text")
        own = kind or said.get("kind") or kind_of(path, text)
        sources.append(Source(name, path, own, text))
    order = (*KINDS, OTHER)
    known = {kind: number for number, kind in enumerate(order)}
    return sorted(sources, key=lambda s: (known.get(s.kind, len(order)), s.kind, s.name))


def _short(stem: str) -> str:
    """Cut a stem to a length that leaves room for a number and a suffix in a file's name."""
    return stem.encode()[:_LONGEST].decode("utf-8", "ignore")


def kind_of(path: Path, text: str | None = None) -> str:
    """Return the kind from the folders or the first part of the name, else "speech" with a `text`,
    else OTHER."""
    folders = [folder.name.casefold() for folder in path.absolute().parents]
    prefix = path.stem.split("_")[0].casefold()
    named = (name for name in (*folders, prefix) if name in KINDS)
    return next(named, "speech" if text else OTHER)


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


def _read_table(path: Path) -> dict[str, dict[str, str]]:
    """What a table says of each file, by the file's name."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not rows or "path" not in rows[0] or not {"text", "kind"} & rows[0].keys():
        raise DataError(f'{path}: needs columns "path" and "text" or "kind", with tabs between')
    return {
        Path(row["path"] or "").name: {
            name: row[name] for name in ("text", "kind") if row.get(name)
        }
        for row in rows
    }
