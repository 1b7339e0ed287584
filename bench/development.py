"""The development set: what is held out of the training audio, and the clips to choose by.

    python -m bench.development DATA -o OUT

`bench/development.tsv` lists stretches of the files below DATA. Rows with clip = 0 are held out of
training: whole speakers, pieces of music and stretches of recorded sounds, 48 minutes in all. Rows
with clip = 1 are 44 clips of 2 to 8 s within them. Settings and weights are chosen by these clips;
the evaluation clips only report.

Writes OUT/train, the training audio without what is held out (files that nothing is taken from are
links), and OUT/development/KIND_NNN.flac, the clips at 24 kHz, mono. Where DATA has
train/phones.tsv, a table of aligned phones (`codec.training.phones`), OUT has one too, with the
clips that remain, at their new places; a clip of which any part is held out does not remain, nor do
those by whose speakers `bench.phonetic_probe` judges.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.phonetic_probe import UNTAUGHT
from codec.audio.reader import read_audio
from codec.audio.resample import resample
from codec.audio.writer import write_audio
from codec.errors import CodecError, DataError
from codec.training.phones import AlignedClip, read_table, write_table

LIST = Path(__file__).with_name("development.tsv")
SAMPLE_RATE = 24_000
PHONES = "train/phones.tsv"
SUFFIXES = (".opus", ".ogg", ".flac", ".wav", ".mp3")


class Stretch(NamedTuple):
    path: str  # below DATA
    offset: float  # seconds
    duration: float
    kind: str
    speaker: str
    clip: bool  # a clip to choose by, else what is held out of training


def read_list(path: Path = LIST) -> list[Stretch]:
    """Read the list, in file order."""
    with path.open(newline="") as file:
        return [
            Stretch(
                row["path"],
                float(row["offset"]),
                float(row["duration"]),
                row["kind"],
                row["speaker"],
                row["clip"] == "1",
            )
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]


def without(audio: np.ndarray, spans: list[tuple[int, int]]) -> np.ndarray:
    """Return `audio` [channels, samples] without the samples of `spans`, each [start, end)."""
    keep = np.ones(audio.shape[-1], bool)
    for start, end in spans:
        keep[start:end] = False
    return audio[:, keep]


def moved(clips: list[AlignedClip], by_path: dict[str, list[Stretch]]) -> list[AlignedClip]:
    """Give the clips that are left when stretches are cut out, with their new paths and offsets."""
    left = []
    for clip in clips:
        held = [part for part in by_path.get(clip.path, ()) if not part.clip]
        end = clip.offset + clip.duration
        if clip.path in UNTAUGHT or any(
            part.offset < end and clip.offset < part.offset + part.duration for part in held
        ):
            continue
        before = sum(part.duration for part in held if part.offset < clip.offset)
        path = Path(clip.path).with_suffix(".flac").as_posix() if held else clip.path
        left.append(dataclasses.replace(clip, path=path, offset=clip.offset - before))
    return left


def split(data: Path, out: Path, stretches: list[Stretch]) -> tuple[int, float]:
    """Write both halves; the number of clips, and the seconds held out.

    Raises DataError when OUT exists, or a listed file is missing or shorter than its stretches.
    """
    if out.exists():
        raise DataError(f"{out} exists already")
    by_path: dict[str, list[Stretch]] = defaultdict(list)
    for stretch in stretches:
        by_path[stretch.path].append(stretch)
    for name in by_path:
        if not (data / name).is_file():
            raise DataError(f"{data / name} is listed in {LIST.name} but missing")
    clips, held = 0, 0.0
    partial = out.with_name(f".{out.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    for path in sorted((data / "train").rglob("*")):
        if path.suffix not in SUFFIXES:
            continue
        name = path.relative_to(data).as_posix()
        target = partial / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name not in by_path:
            target.symlink_to(path.resolve())
            continue
        audio, rate = read_audio(path)
        spans = []
        for part in by_path[name]:
            start, end = (round(t * rate) for t in (part.offset, part.offset + part.duration))
            if start >= audio.shape[-1]:
                raise DataError(f"{path} ends before {part.offset:.3f} s")
            if not part.clip:
                spans.append((start, end))
                held += (min(end, audio.shape[-1]) - start) / rate
                continue
            clip = resample(audio[:, start:end].mean(axis=0), rate, SAMPLE_RATE)
            clips += 1
            place = partial / "development" / f"{part.kind}_{clips:03d}.flac"
            place.parent.mkdir(exist_ok=True)
            write_audio(place, clip[None], SAMPLE_RATE, ".flac")
        rest = without(audio, spans)
        if rest.shape[-1]:
            write_audio(target.with_suffix(".flac"), rest, rate, ".flac")
    if (data / PHONES).exists():
        write_table(partial / PHONES, moved(read_table(data / PHONES), by_path))
    partial.rename(out)
    return clips, held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder that holds train/")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new folder")
    options = parser.parse_args()
    try:
        clips, held = split(options.data, options.output, read_list())
    except CodecError as error:
        sys.exit(f"error: {error}")
    print(f"{clips} development clips; {held / 60:.1f} minutes held out of training")


if __name__ == "__main__":
    main()
