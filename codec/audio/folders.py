"""The audio files below a folder, told by their names, or else by their first bytes."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from codec.audio.formats import READ_SUFFIXES
from codec.audio.sniff import begins_audio
from codec.support.terminal import shown
from codec.support.walk import Found, walk

SNIFFED = 4096  # bytes

_NAMED = 5  # names that fit into a line
# Files that are left out without naming them: nobody expects audio in them.
# fmt: off
_EVERYDAY = frozenset((
    ".7z", ".arrow", ".ass", ".bak", ".bz2", ".cfg", ".cls", ".conf", ".csv", ".ctm", ".cue", ".db",
    ".doc", ".docx", ".eaf", ".gif", ".gz", ".html", ".ini", ".jpeg", ".jpg", ".json", ".jsonl",
    ".lab", ".lock", ".log", ".lrc", ".lst", ".m3u", ".m3u8", ".md", ".md5", ".nac", ".nfo", ".npy",
    ".npz", ".par", ".parquet", ".pdf", ".phn", ".pkl", ".pls", ".png", ".pt", ".py", ".rttm",
    ".sfv", ".sh", ".sha256", ".srt", ".stm", ".tar", ".textgrid", ".tgz", ".trn", ".tsv", ".txt",
    ".vtt", ".webp", ".wrd", ".xml", ".xz", ".yaml", ".yml", ".zip", ".zst",
))
# fmt: on


def find_audio(root: Path) -> tuple[list[Found], list[Path]]:
    """Return what is audio or may be below `root`, see `walk`, and the files that are not audio.

    A file whose suffix is not one of READ_SUFFIXES is audio if its content begins as audio does. A
    file that may not be read is in trouble, and so is a link that leads nowhere, unless its suffix
    is one of everyday use.
    """
    found: list[Found] = []
    passed: list[Path] = []
    for item in walk(root, lambda name: True):
        suffix = item.path.suffix.lower()
        if item.trouble and suffix in _EVERYDAY and item.path.is_symlink():
            passed.append(item.path)
            continue
        if item.trouble or suffix in READ_SUFFIXES:
            readable = item.trouble or os.access(item.path, os.R_OK)
            found.append(item if readable else Found(item.path, "permission denied", lost=True))
            continue
        try:
            with item.path.open("rb") as file:
                is_audio = begins_audio(file.read(SNIFFED))
        except OSError as error:
            if suffix not in _EVERYDAY:
                found.append(Found(item.path, (error.strerror or str(error)).lower(), lost=True))
                continue
            is_audio = False
        if is_audio:
            found.append(item)
        else:
            passed.append(item.path)
    return found, passed


def passed_over(names: Sequence[PurePath]) -> str:
    """Say in one line how many files are not audio, by their suffixes, or their names if few."""
    count = len(names)
    what = "1 file is not audio" if count == 1 else f"{count} files are not audio"
    return f"{what}: {', '.join(_parts(names))}"


def _parts(names: Iterable[PurePath]) -> Iterable[str]:
    counts: defaultdict[str, int] = defaultdict(int)
    others: list[PurePath] = []
    for name in names:
        if name.suffix.lower() in _EVERYDAY:
            counts[name.suffix.lower()] += 1
        else:
            others.append(name)
    yield from (shown(name) for name in others[:_NAMED])
    if len(others) > _NAMED:
        yield f"{len(others) - _NAMED} more"
    yield from (f"{number} {suffix}" for suffix, number in sorted(counts.items()))
