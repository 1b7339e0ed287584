"""Measure `codec speak`: is it understood, does it sound well, whose voice is it, how soon.

    python -m bench.speak DATA [--voice NAME ...] [--sentences 50]

DATA has train/ and eval/. The sentences are unseen: half from the held-out recordings of
bench/development.tsv, half the beginnings of DATA/eval/transcribed. A --voice is the name of a
stored voice or the path of a recording; "held-out" stands for 3 s of each of two speakers of
DATA/eval. For every voice: phone error by hama and word error by Whisper tiny.en, both against the
text, DistillMOS, similarity to other recordings of the speaker (resemblyzer), milliseconds to the
first audio, and how many times faster than real time codes are drawn. The first row are recordings
of the same sentences, coded at the model's levels. With --all every voice has more rows: of the
same codes, decoded with the postfilter and with the enhancer.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.development import read_list
from bench.lm_data import read_table
from codec.audio.reader import AudioReader, read_audio
from codec.audio.writer import write_audio
from codec.errors import CodecError
from codec.lm.continuation import VOICE_STEPS
from codec.lm.speech.speak import SPEECH, STYLE, WEIGHTS, Speaker, Style
from codec.lm.speech.voices import Voice
from codec.quality import phones, prosody, whisper
from codec.quality.blind import distillmos
from codec.quality.words import edits
from codec.support.types import Codes

WORDS = 12  # of a long sentence that are spoken
FEWEST = 6
HELD_OUT = "held-out"
COMPARED = 8  # recordings of a speaker that a voice is compared with


@dataclasses.dataclass(frozen=True)
class Sentence:
    text: str
    recording: Path
    offset: float
    duration: float
    whole: bool  # whether the text is all that the recording says


def sentences(data: Path, count: int) -> list[Sentence]:
    """Return unseen sentences, from both sources in turn."""
    held = [part for part in read_list() if not part.clip and part.kind == "speech"]
    clips = read_table(data / "train" / "clips.tsv")

    def inside(row: dict[str, str]) -> bool:
        offset = float(row["offset"])
        return any(
            part.path == row["path"] and part.offset <= offset < part.offset + part.duration
            for part in held
        )

    seen = {_plain(row["text"]) for row in clips if not inside(row)}
    first = [
        Sentence(
            row["text"], data / row["path"], float(row["offset"]), float(row["duration"]), True
        )
        for row in clips
        if row["source"] == "philippmatthes_en"
        and FEWEST <= len(row["text"].split()) <= WORDS + 4
        and _plain(row["text"]) not in seen
    ]
    second = []
    for row in read_table(data / "eval" / "transcribed.tsv"):
        words = row["text"].lower().split()
        whole = len(words) <= WORDS
        path = data / row["path"]
        second.append(Sentence(" ".join(words[:WORDS]), path, 0.0, float(row["seconds"]), whole))
    mixed = [item for pair in zip(first, second, strict=False) for item in pair]
    rest = first[len(second) :] + second[len(first) :]
    return (mixed + rest)[:count]


def _plain(text: str) -> str:
    return re.sub("[^a-z ]", "", text.lower()).strip()


@dataclasses.dataclass
class Score:
    """Sums over the sentences of one voice."""

    phone_edits: int = 0
    phones: int = 0
    word_edits: int = 0
    words: int = 0
    mos: list[float] = dataclasses.field(default_factory=list)
    similarity: list[float] = dataclasses.field(default_factory=list)
    first_ms: list[float] = dataclasses.field(default_factory=list)
    speed: list[float] = dataclasses.field(default_factory=list)

    def add(self, audio: np.ndarray, rate: int, text: str, own: np.ndarray | None) -> None:
        """Judge `audio` [samples]; own: the mean embedding of the speaker's recordings."""
        wanted = phones.spoken(text.lower())
        self.phone_edits += edits(wanted, phones.recognise(audio, rate))
        self.phones += len(wanted)
        said = whisper.normalised(text)
        self.word_edits += edits(said, whisper.normalised(whisper.recognise(audio, rate)))
        self.words += len(said)
        self.mos.append(distillmos(audio, audio, rate))
        if own is not None:
            self.similarity.append(float(embedding(audio, rate) @ own))

    def line(self, name: str) -> str:
        def mean(values: Sequence[float], digits: int) -> str:
            return f"{np.mean(values):.{digits}f}" if values else "-"

        errors = (
            f"{self.phone_edits / max(1, self.phones):.1%}",
            f"{self.word_edits / max(1, self.words):.1%}",
        )
        first = f"{np.median(self.first_ms):.0f}" if self.first_ms else "-"
        cells = (name, *errors, mean(self.mos, 2), mean(self.similarity, 2), first)
        return f"| {' | '.join((*cells, mean(self.speed, 1)))} |"


# By what the table calls it: the arguments of `Codec.decode`.
AFTER: dict[str, dict[str, bool]] = {
    "postfilter": {"postfilter": True},
    "enhancer": {"enhance": True},
}

HEADER = (
    "| voice | phone error | word error | DistillMOS | similarity | first ms | x real time |\n"
    "|---|---|---|---|---|---|---|"
)


def embedding(audio: np.ndarray, rate: int) -> np.ndarray:
    """Return the direction of a voice, [256]."""
    found: np.ndarray = prosody.speaker_embedding(audio, rate)
    return found / np.linalg.norm(found)


def own_embedding(data: Path, speaker: str) -> np.ndarray | None:
    """Return the mean direction of some recordings of a speaker of train/."""
    rows = [r for r in read_table(data / "train" / "clips.tsv") if r["speaker"] == speaker]
    rows = [row for row in rows if float(row["duration"]) >= 2]
    rows = rows[:: max(1, len(rows) // COMPARED)][:COMPARED]
    if not rows:
        return None
    return _mean(
        stretch(data / row["path"], float(row["offset"]), float(row["duration"])) for row in rows
    )


def _mean(recordings: Iterable[tuple[np.ndarray, int]]) -> np.ndarray:
    total = np.sum([embedding(audio, rate) for audio, rate in recordings], axis=0)
    mean: np.ndarray = total / np.linalg.norm(total)
    return mean


def stretch(path: Path, offset: float, duration: float) -> tuple[np.ndarray, int]:
    """Return audio [samples] of a part of a file, and its rate."""
    with path.open("rb") as file, AudioReader(file, offset, duration) as reader:
        blocks = [block[0] for block in reader]
        return np.concatenate(blocks), reader.sample_rate


def spoken(
    speaker: Speaker, text: str, voice: Voice, style: Style
) -> tuple[Codes, np.ndarray, float, float]:
    """Speak a text; return the codes, the audio, milliseconds to the first of it, and the speed."""
    begun = time.perf_counter()
    decoder = speaker.codec.stream_decoder()
    frames, parts, first = [], [], 0.0
    for codes in speaker.frames(text, voice, style=style):
        audio = decoder.push(codes)
        frames.append(codes)
        if len(audio) and not first:
            first = 1000 * (time.perf_counter() - begun)
        parts.append(audio)
    parts.append(decoder.flush())
    taken = time.perf_counter() - begun
    speed = len(frames) / speaker.codec.config.frame_rate / taken
    return np.concatenate(frames, axis=1), np.concatenate(parts), first, speed


def voices_of(
    speaker: Speaker, data: Path, names: Sequence[str], steps: int
) -> list[tuple[str, Voice, Any]]:
    """Return name, voice and mean embedding of each voice that was asked for."""
    found: list[tuple[str, Voice, np.ndarray | None]] = []
    for name in names:
        if name in speaker.speech.voices:
            voice = speaker.speech.voices[name]
            found.append((name, voice, own_embedding(data, voice.speaker)))
        elif name == HELD_OUT:
            table = read_table(data / "eval" / "transcribed.tsv")
            for own in sorted({row["speaker"] for row in table}):
                rows = [row for row in table if row["speaker"] == own]
                audio, rate = read_audio(data / rows[0]["path"])
                others = (
                    (read_audio(data / row["path"])[0][0], rate) for row in rows[1 : COMPARED + 1]
                )
                voice = speaker.voice_of(audio[0, : 3 * rate], rate, steps=steps)
                found.append((f"{own}, 3 s", voice, _mean(others)))
        else:
            audio, rate = read_audio(Path(name))
            found.append((Path(name).stem, speaker.voice_of(audio, rate, steps=steps), None))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder that holds train/ and eval/")
    parser.add_argument("--voice", action="append", help="may be repeated; default: all")
    parser.add_argument("--sentences", type=int, default=50)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--voices", type=Path, default=SPEECH)
    parser.add_argument("--temperature", type=float, default=STYLE.temperature)
    parser.add_argument("--top-k", type=int, default=STYLE.top_k)
    parser.add_argument("--guidance", type=float, default=STYLE.guidance)
    parser.add_argument("--voice-guidance", type=float, default=STYLE.prompt_guidance)
    parser.add_argument("--adapt", type=int, default=VOICE_STEPS, help="steps, for recorded voices")
    parser.add_argument("--recordings", action="store_true", help="judge the recordings too")
    parser.add_argument("--all", action="store_true", help="judge all ways to decode")
    parser.add_argument("--keep", type=Path, help="folder to write the speech to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = Style(
        options.temperature, options.top_k or None, options.guidance, options.voice_guidance
    )
    try:
        speaker = Speaker.load(options.weights, options.voices)
        wanted = sentences(options.data, options.sentences)
        names = options.voice or [*speaker.speech.voices, HELD_OUT]
        voices = voices_of(speaker, options.data, names, options.adapt)
    except CodecError as error:
        sys.exit(f"error: {error}")
    print(f"{len(wanted)} sentences, {chosen}\n\n{HEADER}", flush=True)
    if options.recordings:
        print(recordings(speaker, wanted).line("recordings, coded"), flush=True)
    for name, voice, own in voices:
        score, others = Score(), {after: Score() for after in AFTER} if options.all else {}
        for number, sentence in enumerate(wanted):
            style = dataclasses.replace(chosen, seed=number)
            codes, audio, first, speed = spoken(speaker, sentence.text, voice, style)
            score.first_ms.append(first)
            score.speed.append(speed)
            rate = speaker.codec.config.sample_rate
            score.add(audio, rate, sentence.text, own)
            for after, other in others.items():
                again = speaker.codec.decode(speaker.codec.tokens(codes), **AFTER[after])[0]
                other.add(again, rate, sentence.text, own)
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                path = options.keep / f"{name}_{number:02d}.wav"
                write_audio(path, audio[None], rate, ".wav")
        print(score.line(name), flush=True)
        for after, other in others.items():
            print(other.line(f"{name}, {after}"), flush=True)


def recordings(speaker: Speaker, wanted: Sequence[Sentence]) -> Score:
    """Judge the recordings whose whole text is spoken, coded at the model's levels."""
    score = Score()
    levels = speaker.language_model.config.levels
    for sentence in wanted:
        if not sentence.whole:
            continue
        audio, rate = stretch(sentence.recording, sentence.offset, sentence.duration)
        tokens = speaker.codec.encode(audio, rate, n_codebooks=levels)
        score.add(speaker.codec.decode(tokens)[0], rate, sentence.text, None)
    return score


if __name__ == "__main__":
    main()
