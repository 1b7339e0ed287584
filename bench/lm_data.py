"""The manifest from which tokens for the language model of audio are made.

    python -m bench.lm_data DATA -o FOLDER
    codec tokenize FOLDER/manifest.tsv -o TOKENS
    codec train-lm TOKENS ...

With --shift 10, 20 or 30, every stretch of "train" begins that many milliseconds later: its frames
of 40 ms are cut elsewhere, and so the same audio gives other codes. With --speed 0.9 it is played
that fast, into FOLDER/audio: pitch and formants move, so a voice becomes another one (speed
perturbation, Ko et al., Interspeech 2015). A model that learns from all of them memorises less:
`codec train-lm TOKENS SHIFTED SLOWER ...`.

DATA holds train/ and MANIFEST.tsv. FOLDER/manifest.tsv has a row for every clip of
DATA/train/clips.tsv, and one for every 30 s of music and of sounds, with the columns

    path, offset, duration    the stretch; seconds
    text, speaker, lang       as clips.tsv has them, empty where they are not known
    phones                    START:PHONE ..., START in units of 10 ms from the clip's start
    tags                      words, separated by spaces: what kind of sound it is
    split                     "validation" for what bench/development.tsv holds out, else "train"
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.development import Stretch, read_list
from codec.audio.reader import read_audio
from codec.audio.resample import resample
from codec.audio.writer import write_audio
from codec.errors import CodecError, DataError
from codec.support.atomic import replacing

COLUMNS = (
    "path", "offset", "duration", "text", "speaker", "lang", "phones", "tags", "split",
)  # fmt: skip
SHORTEST = 0.5  # seconds of a stretch that begins later or plays faster
SAMPLE_RATE = 24_000  # Hz, of audio that plays at another speed
EXCERPT = 30.0  # seconds of a row of music or sounds, which have no boundaries

# What the sources of DATA/MANIFEST.tsv are known to hold.
TAGS = {
    "deb_0ad-data": {"music": "music soundtrack orchestra", "general": "sound effect game"},
    "deb_naev-data": {"music": "music soundtrack space"},
    "deb_supertuxkart-data": {"music": "music soundtrack race"},
    "deb_singularity-music": {"music": "music soundtrack electronic"},
    "deb_warzone2100-music": {"music": "music soundtrack war"},
    "tonejs_audio": {"music": "music instrument"},
    "sfz_headroom_piano": {"music": "music instrument piano"},
    "deb_sonic-pi-samples": {"music": "music loop drums"},
    "sfz_discord_gm": {"music": "music instrument"},
    "sfz_weresax": {"music": "music instrument saxophone"},
    "esc10": {"general": "sound nature"},
    "deb_megaglest-data": {"general": "sound effect game"},
}


def read_table(path: Path) -> list[dict[str, str]]:
    """Read a .tsv with a header and without quoting. Raises DataError if it is missing."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def tags_of(source: str, kind: str) -> str:
    """Return the tags of a source of that kind: speech, music or general."""
    return "speech" if kind == "speech" else TAGS.get(source, {}).get(kind, kind)


def rows(data: Path, held: Sequence[Stretch]) -> Iterator[dict[str, str]]:
    """Yield the manifest's rows, with paths below `data`."""
    spans = defaultdict(list)
    for stretch in held:
        if not stretch.clip:
            spans[stretch.path].append((stretch.offset, stretch.offset + stretch.duration))
    phones = {
        (row["path"], row["offset"]): row["phones"]
        for row in read_table(data / "train" / "phones.tsv")
    }
    for row in [*read_table(data / "train" / "clips.tsv"), *_excerpts(data)]:
        start, end = float(row["offset"]), float(row["offset"]) + float(row["duration"])
        inside = any(start < last and first < end for first, last in spans[row["path"]])
        kind = row["path"].split("/")[1]
        yield {
            **{name: row.get(name, "") for name in COLUMNS},
            "phones": phones.get((row["path"], row["offset"]), ""),
            "tags": tags_of(row["source"], kind),
            "split": "validation" if inside else "train",
        }


def _excerpts(data: Path) -> Iterator[dict[str, str]]:
    for row in read_table(data / "MANIFEST.tsv"):
        if row["kind"] == "speech":
            continue
        length, start = float(row["seconds"]), 0.0
        while length - start >= 1:
            duration = min(EXCERPT, length - start)
            yield {
                "path": row["path"],
                "offset": f"{start:.3f}",
                "duration": f"{duration:.3f}",
                "source": row["source"],
            }
            start += EXCERPT


def shifted(table: Sequence[Mapping[str, str]], shift: int) -> Iterator[dict[str, str]]:
    """Yield the rows of `table` for training, each beginning `shift` units of 10 ms later."""
    for row in table:
        seconds = float(row["duration"]) - shift / 100
        if row["split"] != "train" or seconds < SHORTEST:
            continue
        pairs = [pair.split(":", 1) for pair in row["phones"].split()]
        # A phone that has begun before goes on from the beginning.
        kept = [(int(start) - shift, name) for start, name in pairs]
        begun = [place for place, (start, _) in enumerate(kept) if start <= 0]
        kept = kept[begun[-1] :] if begun else kept
        yield {
            **row,
            "offset": f"{float(row['offset']) + shift / 100:.3f}",
            "duration": f"{seconds:.3f}",
            "phones": " ".join(f"{max(0, start)}:{name}" for start, name in kept),
        }


def replayed(
    table: Sequence[Mapping[str, str]], speed: float, data: Path, folder: Path
) -> Iterator[dict[str, str]]:
    """Yield the rows of `table` for training as they are when their files play at `speed`.

    The files are written into `folder`/audio, as WAV at `SAMPLE_RATE`, mono or as they are.
    """
    for path, group in itertools.groupby(table, lambda row: row["path"]):
        taught = [row for row in group if row["split"] == "train"]
        if not taught:
            continue
        made = (folder / "audio" / path).with_suffix(".wav").resolve()
        audio, rate = read_audio(data / path)
        played = round(rate * speed)
        audio = np.stack([resample(channel, played, SAMPLE_RATE) for channel in audio])
        with replacing(made, overwrite=True) as aside:
            write_audio(aside, audio, SAMPLE_RATE, ".wav")
        for row in taught:
            offset = min(float(row["offset"]) / speed, audio.shape[1] / SAMPLE_RATE)
            seconds = min(float(row["duration"]) / speed, audio.shape[1] / SAMPLE_RATE - offset)
            if seconds < SHORTEST:
                continue
            yield {
                **row,
                "path": str(made),
                "offset": f"{offset:.3f}",
                "duration": f"{math.floor(1000 * seconds) / 1000:.3f}",
                "speaker": f"{row['speaker']}@{speed}" if row["speaker"] else "",
                "phones": _stretched(row["phones"], speed),
            }


def _stretched(phones: str, speed: float) -> str:
    pairs = [pair.split(":", 1) for pair in phones.split()]
    starts = {round(int(start) / speed): name for start, name in pairs}
    return " ".join(f"{start}:{name}" for start, name in starts.items())


def write(path: Path, data: Path, table: Sequence[Mapping[str, str]]) -> None:
    """Write the manifest; its paths are absolute, so that it may lie anywhere."""
    lines = [list(COLUMNS)]
    for row in table:
        lines.append([str(data.resolve() / row["path"]), *(row[name] for name in COLUMNS[1:])])
    text = "".join("\t".join(line) + "\n" for line in lines)  # no quoting: a quote is a quote
    with replacing(path, overwrite=True) as aside:
        aside.write_bytes(text.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder that holds train/ and MANIFEST.tsv")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write into")
    changes = parser.add_mutually_exclusive_group()
    changes.add_argument("--shift", type=int, choices=(10, 20, 30), help="milliseconds")
    changes.add_argument("--speed", type=float, help="0.5 to 2: of which 1 is the recording's own")
    options = parser.parse_args()
    if options.speed is not None and not 0.5 <= options.speed <= 2:
        parser.error(f"a speed is 0.5 to 2, not {options.speed}")
    try:
        table = list(rows(options.data, read_list()))
        if options.shift:
            table = list(shifted(table, options.shift // 10))
        if options.speed:
            table = list(replayed(table, options.speed, options.data, options.output))
        write(options.output / "manifest.tsv", options.data, table)
    except CodecError as error:
        sys.exit(f"error: {error}")
    seconds = sum(float(row["duration"]) for row in table)
    validation = sum(row["split"] == "validation" for row in table)
    print(f"{len(table)} rows, {seconds / 3600:.2f} h, {validation} of them for validation")


if __name__ == "__main__":
    main()
