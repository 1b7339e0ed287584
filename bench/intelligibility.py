"""What speech recognisers still hear after the codec, by number of levels.

    python -m bench.intelligibility DATA [--weights W.safetensors] [--levels 1,2,4,8,12,28]
        [--beam 1] [--refine 0] [--enhance]

DATA has eval/transcribed.tsv with the columns path and text, and the utterances below it. For the
originals, and for what is decoded from the first levels of their codes:

- phone error: the phones that hama's recogniser hears, against those that its model of spelling
  gives for the text (`codec.quality.phones`).
- word error: the words that Whisper tiny.en hears, against the text (`codec.quality.whisper`).

With --beam or --refine the codes of each number of levels are searched by themselves. With
--enhance, what the enhancer makes of the decoded audio is heard, too.

Both are edits over all utterances, divided by all phones or words of the texts. The recognisers err
on the originals too, so their row is what to compare with.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

import codec
from codec.audio.reader import read_audio
from codec.benchmark.machine import machine
from codec.engine.refine import PLAIN, Search
from codec.errors import CodecError, DataError
from codec.quality import phones, whisper
from codec.quality.pair import Audio
from codec.quality.words import edits

LIST = "eval/transcribed.tsv"
LEVELS = (1, 2, 4, 8, 12, 28)


class Utterance(NamedTuple):
    path: Path
    text: str


class After(NamedTuple):
    """What was done to the audio: so many levels of its codes, 0 for none, and the enhancer."""

    levels: int
    enhanced: bool


class Errors(NamedTuple):
    phones: int  # edits
    words: int


def read_utterances(data: Path) -> list[Utterance]:
    """Read the list. Raises DataError if it, or an utterance, is missing."""
    try:
        with (data / LIST).open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            found = [Utterance(data / row["path"], row["text"]) for row in rows]
    except (OSError, KeyError) as error:
        raise DataError(f"{data / LIST}: {error}") from None
    for utterance in found:
        if not utterance.path.is_file():
            raise DataError(f"{utterance.path} is missing")
    return found


def decoded(
    model: codec.Codec,
    audio: Audio,
    rate: int,
    levels: Sequence[int],
    ways: Sequence[bool] = (False,),
    search: Search = PLAIN,
) -> dict[After, Audio]:
    """Decode `audio`, at its own rate, from each of `levels`: plain, enhanced, or both."""
    heard: dict[After, Audio] = {}
    nested = model.encode(audio, rate) if search == PLAIN else None
    for count in levels:
        tokens = (
            nested.first(count)
            if nested
            else model.encode(audio, rate, n_codebooks=count, **search._asdict())
        )
        for enhanced in ways:
            heard[After(count, enhanced)] = model.decode(tokens, enhance=enhanced)[0]
    return heard


def errors(audio: Audio, rate: int, wanted: tuple[list[str], list[str]]) -> Errors:
    """Count the edits between what is heard in `audio` and the phones and words of the text."""
    heard = whisper.normalised(whisper.recognise(audio, rate))
    return Errors(edits(wanted[0], phones.recognise(audio, rate)), edits(wanted[1], heard))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that holds eval/")
    parser.add_argument("--weights", default="default", help=".safetensors; default: the package's")
    parser.add_argument("--levels", default=",".join(map(str, LEVELS)), help="of the codes")
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--refine", type=int, default=0)
    parser.add_argument("--enhance", action="store_true", help="also hear it enhanced")
    options = parser.parse_args(arguments)
    search = Search(options.beam, options.refine)
    try:
        model = codec.load(options.weights)
        levels = [int(text) for text in options.levels.split(",")]
        if options.enhance:
            model.pipeline.improvement("enhancer")  # an error before the first one is heard
        utterances = read_utterances(options.data)
        ways = [False, True] if options.enhance else [False]
        found: dict[After, list[Errors]] = {}
        n_phones, n_words = 0, 0
        for utterance in tqdm(utterances, disable=None):
            audio, rate = read_audio(utterance.path)
            wanted = (phones.spoken(utterance.text), whisper.normalised(utterance.text))
            n_phones, n_words = n_phones + len(wanted[0]), n_words + len(wanted[1])
            mono = audio.mean(axis=0)
            found.setdefault(After(0, False), []).append(errors(mono, rate, wanted))
            for way, heard in decoded(model, mono, rate, levels, ways, search).items():
                found.setdefault(way, []).append(errors(heard, rate, wanted))
    except (CodecError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(
        f"Model {model.model_id.hex()}; {len(utterances)} utterances, {n_phones} phones, "
        f"{n_words} words; codes by {search.described()}; {machine()}\n"
    )
    print("| levels | kbit/s | enhanced | phone error | word error |\n|--:|--:|---|--:|--:|")
    each = model.config.bitrate_per_codebook / 1000
    for (count, enhanced), rows in found.items():
        both = np.sum(rows, axis=0) / (n_phones, n_words)
        name = f"{count} | {count * each:g}" if count else "original | "
        print(f"| {name} | {'yes' if enhanced else ''} | {both[0]:.1%} | {both[1]:.1%} |")


if __name__ == "__main__":
    main()
