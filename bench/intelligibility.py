"""What speech recognisers still hear after the codec, by number of levels.

    python -m bench.intelligibility DATA [--weights W.safetensors] [--levels 1,2,4,8,12,28]

DATA has eval/transcribed.tsv with the columns path and text, and the utterances below it. For the
originals, and for what is decoded from the first levels of their codes:

- phone error: the phones that hama's recogniser hears, against those that its model of spelling
  gives for the text (`codec.quality.phones`).
- word error: the words that Whisper tiny.en hears, against the text (`codec.quality.whisper`).

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
from codec.errors import CodecError, DataError
from codec.quality import phones, whisper
from codec.quality.pair import Audio
from codec.quality.words import edits

LIST = "eval/transcribed.tsv"
LEVELS = (1, 2, 4, 8, 12, 28)


class Utterance(NamedTuple):
    path: Path
    text: str


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


def decoded(model: codec.Codec, audio: Audio, rate: int, levels: Sequence[int]) -> dict[int, Audio]:
    """Decode the first levels of the codes of `audio`, at its own rate, for each of `levels`."""
    tokens = model.encode(audio, rate)
    return {count: model.decode(tokens.first(count))[0] for count in levels}


def errors(audio: Audio, rate: int, wanted: tuple[list[str], list[str]]) -> Errors:
    """Count the edits between what is heard in `audio` and the phones and words of the text."""
    heard = whisper.normalised(whisper.recognise(audio, rate))
    return Errors(edits(wanted[0], phones.recognise(audio, rate)), edits(wanted[1], heard))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that holds eval/")
    parser.add_argument("--weights", default="default", help=".safetensors; default: the package's")
    parser.add_argument("--levels", default=",".join(map(str, LEVELS)), help="of the codes")
    options = parser.parse_args(arguments)
    try:
        model = codec.load(options.weights)
        levels = [int(text) for text in options.levels.split(",")]
        utterances = read_utterances(options.data)
        found: dict[int, list[Errors]] = {}
        n_phones, n_words = 0, 0
        for utterance in tqdm(utterances, disable=None):
            audio, rate = read_audio(utterance.path)
            wanted = (phones.spoken(utterance.text), whisper.normalised(utterance.text))
            n_phones, n_words = n_phones + len(wanted[0]), n_words + len(wanted[1])
            mono = audio.mean(axis=0)
            found.setdefault(0, []).append(errors(mono, rate, wanted))
            for count, heard in decoded(model, mono, rate, levels).items():
                found.setdefault(count, []).append(errors(heard, rate, wanted))
    except (CodecError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(
        f"Model {model.model_id.hex()}; {len(utterances)} utterances, {n_phones} phones, "
        f"{n_words} words; {machine()}\n"
    )
    print("| levels | kbit/s | phone error | word error |\n|--:|--:|--:|--:|")
    each = model.config.bitrate_per_codebook / 1000
    for count, rows in found.items():
        both = np.sum(rows, axis=0) / (n_phones, n_words)
        name = f"{count} | {count * each:g}" if count else "original | "
        print(f"| {name} | {both[0]:.1%} | {both[1]:.1%} |")


if __name__ == "__main__":
    main()
