"""Say which phone is spoken when: a table of aligned phones becomes labels beside the audio.

    out/phones.u8     a uint8 for every 10 ms of `audio.i16`: the phone's number, 0 where unknown
    out/phones.json   the phones' names, and which audio they belong to

The table is tab-separated, with a header and at least the columns `path`, `offset`, `duration` and
`phones`: a row is a clip within the file `path`, from `offset` for `duration` seconds, and `phones`
is `START:PHONE START:PHONE ...`, START in units of 10 ms from the start of the clip. A phone lasts
until the next one, the last one until the end of the clip.

Needs numpy only.
"""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from codec.errors import DataError
from codec.support.atomic import replacing
from codec.training.prepare import PreparedAudio

LABELS_NAME = "phones.u8"
NAMES_NAME = "phones.json"
UNITS = 100  # labels a second
UNKNOWN = 0
MOST_PHONES = 255
COLUMNS = ("path", "offset", "duration", "phones")

Labels = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class AlignedClip:
    """The phones of one clip, in the order of time."""

    path: str  # with forward slashes
    offset: float  # seconds from the start of the file
    duration: float  # seconds
    phones: tuple[tuple[int, str], ...]  # (start in units of 10 ms from the clip's start, phone)

    def at(self, times: npt.NDArray[np.float64]) -> list[str]:
        """Name the phone at each of `times`, seconds from the clip's start within its duration."""
        starts = [start for start, _ in self.phones]
        found = np.searchsorted(starts, times * UNITS, side="right") - 1
        return [self.phones[number][1] if number >= 0 else "" for number in found]


def read_table(path: Path) -> list[AlignedClip]:
    """Read a table of aligned phones, in file order. Raises DataError with the line's number."""
    clips = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            missing = set(COLUMNS) - set(rows.fieldnames or ())
            if missing:
                raise DataError(f"{path}: the columns {', '.join(sorted(missing))} are missing")
            for row in rows:
                try:
                    clips.append(_clip(row))
                except (ValueError, TypeError, AttributeError):
                    raise DataError(
                        f"{path}, line {rows.line_num}: not a clip with aligned phones"
                    ) from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not text in UTF-8") from None
    if not clips:
        raise DataError(f"{path}: the table is empty")
    return clips


def _clip(row: dict[str, str]) -> AlignedClip:
    phones = []
    for part in row["phones"].split():
        start, _, phone = part.partition(":")
        if not phone:
            raise ValueError
        phones.append((int(start), phone))
    offset, duration = float(row["offset"]), float(row["duration"])
    starts = [start for start, _ in phones]
    good = 0 <= offset < np.inf and 0 < duration < np.inf
    if not (good and starts == sorted(starts) and all(start >= 0 for start in starts)):
        raise ValueError
    return AlignedClip(row["path"], offset, duration, tuple(phones))


def write_table(path: Path, clips: Iterable[AlignedClip]) -> None:
    """Write what `read_table` reads, times with three decimals."""
    with replacing(path, overwrite=True) as aside, aside.open("w", encoding="utf-8") as file:
        file.write("\t".join(COLUMNS) + "\n")
        for clip in clips:
            phones = " ".join(f"{start}:{phone}" for start, phone in clip.phones)
            file.write(f"{clip.path}\t{clip.offset:.3f}\t{clip.duration:.3f}\t{phones}\n")


class PhoneTable:
    """A table of aligned phones, read once and checked before there is audio to label.

    path: of the table, which may be a pipe. clips: in file order. names: of the phones, in
    alphabetical order. Raises DataError if the table is damaged or has more than 255 phones.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.clips = path, read_table(path)
        self.names = sorted({phone for clip in self.clips for _, phone in clip.phones})
        if len(self.names) > MOST_PHONES:
            raise DataError(
                f"{path} has {len(self.names)} phones; a label has room for {MOST_PHONES}"
            )

    def check_fits(self, files: Sequence[str]) -> None:
        """Raise DataError if no clip is of one of `files`, paths with forward slashes."""
        # Two files that differ in their suffix alone may yet become one: only one may be usable.
        places = Places(list({_stem(path): path for path in files}.values()))
        if not any(places.find(clip.path) is not None for clip in self.clips):
            raise DataError(f"{self.path}: none of its files is among the {len(files)} found")


def write_labels(prepared: PreparedAudio, table: PhoneTable | Path) -> float:
    """Write `phones.u8` and `phones.json` beside the prepared audio; the labelled seconds.

    `Places` says which file a row belongs to: a table of `train/speech/a.opus` also fits a folder
    in which that file is `speech/a.flac`. Rows of files that were not prepared are passed over.
    Phones are numbered from 1 in alphabetical order.

    Raises DataError if the table is damaged, has more than 255 phones, fits no file, has a clip
    that ends more than 50 ms after its file, or two prepared files differ in their suffix alone.
    """
    if isinstance(table, Path):
        table = PhoneTable(table)
    names = table.names
    numbers = {name: number for number, name in enumerate(names, start=1)}
    rate = prepared.sample_rate
    labels = np.zeros(-(-prepared.n_samples * UNITS // rate), np.uint8)
    places = Places([entry.path for entry in prepared.files])
    labelled = 0.0
    for clip in table.clips:
        place = places.find(clip.path)
        if place is None:
            continue
        entry = prepared.files[place]
        if clip.offset + clip.duration > entry.samples / rate + 0.05:
            raise DataError(
                f"{table.path}: a clip of {clip.path} ends at {clip.offset + clip.duration:.3f} s, "
                f"and the audio at {entry.samples / rate:.3f} s"
            )
        start = entry.offset / rate + clip.offset
        end = min(start + clip.duration, (entry.offset + entry.samples) / rate)
        # The label of unit i is what is spoken at its middle.
        first, last = (int(np.ceil(time * UNITS - 0.5)) for time in (start, end))
        spoken = clip.at((np.arange(first, last) + 0.5) / UNITS - start)
        labels[first:last] = [numbers.get(phone, UNKNOWN) for phone in spoken]
        labelled += clip.duration
    if not labelled:
        raise DataError(
            f"{table.path}: none of its files is among the {len(prepared.files)} prepared"
        )
    about = {"fingerprint": prepared.fingerprint, "phones": names}
    # The names come last: they make the labels valid.
    (prepared.folder / NAMES_NAME).unlink(missing_ok=True)
    with replacing(prepared.folder / LABELS_NAME, overwrite=True) as aside:
        labels.tofile(aside)
    with replacing(prepared.folder / NAMES_NAME, overwrite=True) as aside:
        aside.write_text(json.dumps(about) + "\n")
    return labelled


def read_labels(prepared: PreparedAudio) -> tuple[Labels, Sequence[str]]:
    """Read what `write_labels` wrote: uint8 [ceil(n_samples * 100 / sample_rate)], and the names.

    Phone i has the name names[i - 1]. Raises DataError if there are no labels, or they belong to
    other audio.
    """
    try:
        about = json.loads((prepared.folder / NAMES_NAME).read_bytes())
        labels = np.fromfile(prepared.folder / LABELS_NAME, np.uint8)
        names, fingerprint = list(about["phones"]), about["fingerprint"]
    except FileNotFoundError:
        raise DataError(
            f"{prepared.folder} has no phones: codec prepare --phones TABLE adds them"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{prepared.folder / NAMES_NAME} is damaged: {error}") from None
    wanted = -(-prepared.n_samples * UNITS // prepared.sample_rate)
    if fingerprint != prepared.fingerprint or len(labels) != wanted:
        raise DataError(
            f"{prepared.folder}: the phones belong to other audio: codec prepare --phones TABLE "
            "makes them anew"
        )
    return labels, names


class Places:
    """Finds the file that a path in a table names, among `files`, paths with forward slashes.

    It is the file whose path, without its suffix, is the table's path or its end (from a slash
    on), and the one of most folders where several are. Raises DataError if two files differ in
    their suffix alone.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._numbers = {_stem(path): number for number, path in enumerate(files)}
        if len(self._numbers) < len(files):
            twice = next(path for i, path in enumerate(files) if self._numbers[_stem(path)] != i)
            raise DataError(
                f"the phones of {twice} fit several files, which differ in their suffix"
            )

    def find(self, path: str) -> int | None:
        """Return the number of the file that `path` names; None: there is none."""
        parts = _stem(path).split("/")
        ends = ("/".join(parts[first:]) for first in range(len(parts)))
        return next((self._numbers[end] for end in ends if end in self._numbers), None)


def _stem(path: str) -> str:
    return PurePosixPath(path).with_suffix("").as_posix()
