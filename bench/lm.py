"""Measure the language model of audio: `codec continue` and `codec compose`.

    python -m bench.lm DATA --tokens TOKENS [--weights FILE] -o bench/lm.md

DATA has train/ and eval/, TOKENS is what the model was trained on (bench.lm_data). Continuations
follow the first 3 s of 50 recordings of speakers that training did not hear: the clips of
bench/development.tsv and of DATA/eval/transcribed. A continuation is compared with the codec's own
reconstruction of what really followed, at the same levels. For compositions a classifier (logistic
regression on means and deviations of log-mel bands) learns the kinds of music and sounds from real
audio, coded at the model's levels, and says of what kind a composition is.

Everything runs on one thread. Speed is counted in processor time, so that other work on the machine
changes it little.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import torch

import codec
from bench.development import read_list
from bench.lm_data import read_table
from codec.audio.reader import read_audio
from codec.audio.resample import resample
from codec.benchmark.machine import machine, versions
from codec.coders import entropy
from codec.coders.base import CODER_IDS
from codec.corpus.token_rows import TokenRows
from codec.errors import CodecError
from codec.lm import DEFAULT_LM
from codec.lm.continuation import MANNER, PRIOR, SPEECH, VOICE_STEPS, Manner, attuned, continued
from codec.lm.cuts import cuts_of
from codec.lm.model.data import VALIDATION, words_of
from codec.lm.model.language_model import Conditions, LanguageModel
from codec.lm.speech.phone_model import PhoneModel
from codec.lm.speech.speak import SPEECH as SPEECH_FILE
from codec.lm.speech.voices import Speech
from codec.mel import log_mel
from codec.model.location import DEFAULT_WEIGHTS
from codec.quality.blind import distillmos
from codec.quality.prosody import speaker_embedding

Floats = npt.NDArray[np.float64]

PROMPT = 3.0  # seconds
SHORTEST = 5.0  # seconds of a recording, the prompt included
QUIET = 30.0  # dB below the prompt
SILENT = 2.0  # seconds of quiet that count as silence
LOOP = 50  # frames that repeat the ones before
LAGS = range(1, 51)  # frames
PIECE = 5.0  # seconds of music or sounds that the classifier hears
PIECES = 20  # of a kind
MEL_RATE = 16_000  # Hz: of `log_mel`'s default
ADAPTATIONS = (0, VOICE_STEPS)  # steps of learning from the prompt
TEMPERATURES = (0.7,)  # beside the default
PHONE_GUIDANCES = (1.0, 1.5)  # beside the default
GUIDANCES = (1.0, 3.0)  # by the prompt, beside the default
TAG_GUIDANCES = (1.0, 3.0)


@dataclasses.dataclass(frozen=True)
class Recording:
    speaker: str
    audio: npt.NDArray[np.float32]  # [samples], at the codec's rate


def recordings(data: Path, rate: int, count: int) -> list[Recording]:
    """Speech of speakers that training did not hear."""
    found = []
    for part in read_list():
        if part.clip and part.kind == "speech" and part.duration >= SHORTEST:
            with soundfile.SoundFile(data / part.path) as file:
                own = file.samplerate
                file.seek(round(part.offset * own))
                piece = file.read(round(part.duration * own), "float32", always_2d=True).mean(1)
            found.append(Recording(part.speaker, resample(piece, own, rate)))
    for row in read_table(data / "eval" / "transcribed.tsv"):
        if float(row["seconds"]) >= SHORTEST:
            audio, own = read_audio(data / row["path"])
            piece = audio.mean(0)[: 8 * own]
            found.append(Recording(row["speaker"], resample(piece, own, rate)))
    return found[:count]


def falls_silent(
    audio: npt.NDArray[np.float32], prompt: npt.NDArray[np.float32], rate: int
) -> bool:
    """Whether `audio` has `SILENT` seconds in a row that are `QUIET` dB below the prompt."""
    hop = rate // 25
    blocks = audio[: len(audio) // hop * hop].reshape(-1, hop).astype(np.float64)
    least = np.sqrt(np.mean(prompt.astype(np.float64) ** 2)) * 10 ** (-QUIET / 20)
    run = longest = 0
    for quiet in np.sqrt(np.mean(blocks**2, axis=1)) < least:
        run = run + 1 if quiet else 0
        longest = max(longest, run)
    return longest >= SILENT * 25


def loops(codes: npt.NDArray[np.uint16]) -> bool:
    """Whether `LOOP` frames in a row repeat, in the first level, those a lag before."""
    row = codes[0]
    for lag in LAGS:
        run = 0
        for same in row[lag:] == row[:-lag]:
            run = run + 1 if same else 0
            if run >= LOOP:
                return True
    return False


@dataclasses.dataclass
class Continuations:
    """What is measured of continuations at one temperature; means over the recordings."""

    similarity: float = 0.0  # to the prompt
    own: float = 0.0  # share that is more like the prompt than like any other speaker
    mos: float = 0.0
    silent: float = 0.0
    loops: float = 0.0


class Bench:
    """The models, and the recordings as codes."""

    def __init__(self, lm: LanguageModel, model: codec.Codec, items: Sequence[Recording]) -> None:
        self.lm, self.model, self.items = lm, model, items
        self.rate = model.config.sample_rate
        self.frames = round(PROMPT * lm.config.frame_rate)
        levels = lm.config.levels
        self.codes = [
            model.encode(item.audio, self.rate, n_codebooks=levels).codes[0] for item in items
        ]
        heard = [item.audio[: round(PROMPT * self.rate)] for item in items]
        self.prompts = np.stack([self.embedded(audio) for audio in heard])
        self.cuts = [cuts_of(model, audio, self.rate, levels) for audio in heard]
        speakers = sorted({item.speaker for item in items})
        owner = np.array([item.speaker for item in items])
        self.voices = {name: self.prompts[owner == name].mean(0) for name in speakers}

    def embedded(self, audio: npt.NDArray[np.float32]) -> Floats:
        found = np.asarray(speaker_embedding(audio, self.rate), np.float64)
        return found / np.linalg.norm(found)

    def after_prompt(self, codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
        """The audio of what follows the prompt, decoded with it."""
        audio = self.model.decode(self.model.tokens(codes))[0]
        return audio[self.frames * self.model.config.hop_length :]

    def measured(self, follows: Sequence[npt.NDArray[np.uint16]]) -> Continuations:
        """follows: for each recording the prompt's codes and what follows."""
        rows = []
        for place, (item, codes) in enumerate(zip(self.items, follows, strict=True)):
            audio = self.after_prompt(codes)
            voice = self.embedded(audio)
            likeness = float(voice @ self.prompts[place])
            others = [
                float(voice @ mean / np.linalg.norm(mean))
                for name, mean in self.voices.items()
                if name != item.speaker
            ]
            prompt = item.audio[: round(PROMPT * self.rate)]
            rows.append(
                (
                    likeness,
                    likeness > max(others),
                    distillmos(audio, audio, self.rate),
                    falls_silent(audio, prompt, self.rate),
                    loops(codes[:, self.frames :]),
                )
            )
        return Continuations(*np.mean(np.array(rows, np.float64), axis=0).tolist())

    def continued(
        self, manner: Manner, seconds: float, phones: PhoneModel | None, steps: int
    ) -> list[npt.NDArray[np.uint16]]:
        """The prompt of each recording with a continuation, each with a seed of its own.

        steps: of learning from the prompt.
        """
        count = round(seconds * self.lm.config.frame_rate)
        result = []
        for place, codes in enumerate(self.codes):
            prompt = codes[:, : self.frames]
            seeded = dataclasses.replace(manner, seed=place)
            tags = self.lm.kind_of(prompt, PRIOR)
            lm = attuned(self.lm, self.cuts[place], tags, steps)
            made = continued(lm, prompt, count, phones, seeded, tags)
            result.append(np.concatenate([prompt, *made], 1))
        return result

    def told(self) -> float:
        """The share of prompts that the model takes for speech."""
        kinds = [self.lm.kind_of(codes[:, : self.frames], PRIOR) for codes in self.codes]
        return float(np.mean([SPEECH in kind for kind in kinds]))

    def bits(self) -> dict[str, Floats]:
        """Bits a code of each level, of what really followed the prompts, which all have read."""
        prior = entropy.load(DEFAULT_WEIGHTS, CODER_IDS["best"])
        costs: dict[str, list[Floats]] = {}
        for codes, cuts in zip(self.codes, self.cuts, strict=True):
            voice = Conditions([SPEECH], codes[:, : self.frames])
            learned = attuned(self.lm, cuts, [SPEECH])
            for name, cost in (
                ("entropy prior", prior.costs(codes[None])[1][0]),
                ("model", self.lm.bits(codes)),
                ("model, told the voice", self.lm.bits(codes, voice)),
                (f"model, after {VOICE_STEPS} steps on the prompt", learned.bits(codes, voice)),
            ):
                costs.setdefault(name, []).append(cost[:, self.frames :].astype(np.float64))
        return {name: np.concatenate(kept, 1).mean(1) for name, kept in costs.items()}


def speed(lm: LanguageModel, phones: PhoneModel | None, frames: int = 250) -> tuple[float, float]:
    """Frames a second of processor time, and milliseconds to the first after 3 s of speech."""
    tags = [SPEECH]
    prompt = np.zeros((lm.config.levels, round(PROMPT * lm.config.frame_rate)), np.uint16)
    rates, firsts = [], []
    for seed in range(3):
        began = time.process_time()
        made = continued(lm, prompt, frames, phones, dataclasses.replace(MANNER, seed=seed), tags)
        next(made)
        first = time.process_time()
        count = sum(1 for _ in made)
        rates.append(count / (time.process_time() - first))
        firsts.append(1000 * (first - began))
    return max(rates), min(firsts)


def learning(lm: LanguageModel) -> float:
    """Seconds of processor time to learn from a prompt of 3 s."""
    cuts = np.zeros((4, lm.config.levels, round(PROMPT * lm.config.frame_rate)), np.uint16)
    begun = time.process_time()
    attuned(lm, cuts, [SPEECH])
    return time.process_time() - begun


def features(audio: npt.NDArray[np.float32], rate: int) -> Floats:
    """Means and deviations of log-mel bands and of their changes."""
    bands = log_mel(resample(audio, rate, MEL_RATE)).astype(np.float64)
    change = np.abs(np.diff(bands, axis=1))
    return np.concatenate([bands.mean(1), bands.std(1), change.mean(1)])


def pieces(tokens: Path, model: codec.Codec, levels: int) -> list[tuple[str, str, bool, Floats]]:
    """Kind, file, whether it is held out, and features, of real music and sounds."""
    rows, rate = TokenRows(tokens), model.config.sample_rate
    random = np.random.default_rng(0)
    by_kind: dict[str, list[int]] = {}
    for number, tags in enumerate(rows.column("tags")):
        kind = " ".join(words_of({"tags": tags}))
        if kind and not kind.startswith("speech"):
            by_kind.setdefault(kind, []).append(number)
    length = round(PIECE * model.config.frame_rate)
    found = []
    for kind, numbers in sorted(by_kind.items()):
        for number in random.permutation(numbers)[:PIECES]:
            row = rows[int(number)]
            codes = row["codes"][0, :levels]
            if codes.shape[1] >= length:
                first = int(random.integers(0, codes.shape[1] - length + 1))
                audio = model.decode(model.tokens(codes[:, first : first + length]))[0]
                held = row.get("split") == VALIDATION
                found.append((kind, str(row["path"]), held, features(audio, rate)))
    return found


def composed(
    lm: LanguageModel, model: codec.Codec, tokens: Path, count: int, guidances: Sequence[float]
) -> tuple[list[str], list[list[str]], str]:
    """The head and a row for each kind, and what the classifier has by chance."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    real = pieces(tokens, model, lm.config.levels)
    x, kinds = np.stack([row[3] for row in real]), np.array([row[0] for row in real])
    groups = np.array([row[1] for row in real])
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, C=0.1))
    # Kinds that lie in one file are split by piece: no other piece of that kind exists.
    alone = {kind for kind in {*kinds} if len({*groups[kinds == kind]}) < 2}
    groups = np.array(
        [
            f"{g} {i % 3}" if k in alone else g
            for i, (k, g) in enumerate(zip(kinds, groups, strict=True))
        ]
    )
    guessed = cross_val_predict(probe, x, kinds, groups=groups, cv=GroupKFold(5))
    probe.fit(x, kinds)
    frames = round(PIECE * lm.config.frame_rate)

    def right(kind: str, guidance: float) -> tuple[list[bool], list[bool]]:
        """Whether each composition is said to be of its kind, and to be music or a sound."""
        heard = []
        for seed in range(count):
            asked = Conditions(tags=tuple(kind.split()))
            made = lm.generate(
                None, asked, 2 * frames, temperature=0.95, top_p=0.95, guidance=guidance, seed=seed
            )
            audio = model.decode(model.tokens(np.concatenate(list(made), 1)))[0]
            heard.append(features(audio[len(audio) // 2 :], model.config.sample_rate))
        said = probe.predict(np.stack(heard)).tolist()
        coarse = [name.split()[0] == kind.split()[0] for name in said]
        return [name == kind for name in said], coarse

    rows = []
    every: list[list[bool]] = [[] for _ in range(2 * len(guidances))]
    for kind in sorted({*kinds}):
        own = kinds == kind
        found = [found for guidance in guidances for found in right(kind, guidance)]
        for column, more in zip(every, found, strict=True):
            column += more
        rows.append(
            [
                kind,
                str(int(own.sum())),
                f"{np.mean(guessed[own] == kind):.0%}",
                *(f"{np.mean(column):.0%}" for column in found),
            ]
        )
    rows.append(
        [
            "all",
            str(len(kinds)),
            f"{np.mean(guessed == kinds):.0%}",
            *(f"{np.mean(column):.0%}" for column in every),
        ]
    )
    head = ["kind", "real pieces", "real"]
    for guidance in guidances:
        head += [f"guidance {guidance:g}", "music or sound"]
    return head, rows, f"{1 / len({*kinds}):.0%}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def shown(row: Continuations) -> list[str]:
    return [
        f"{row.similarity:.3f}",
        f"{row.own:.0%}",
        f"{row.mos:.2f}",
        f"{row.silent:.0%}",
        f"{row.loops:.0%}",
    ]


def report(arguments: argparse.Namespace, command: str) -> str:
    torch.set_num_threads(1)
    lm, model = LanguageModel.read(arguments.weights), codec.load()
    items = recordings(arguments.data, model.config.sample_rate, arguments.count)
    bench = Bench(lm, model, items)
    levels, rate = lm.config.levels, lm.config.frame_rate
    head = ["", "similarity to the prompt", "above all others", "DistillMOS", "silent", "loops"]
    rows = [["recording, coded", *shown(bench.measured(bench.codes))]]
    phones = Speech.load(arguments.voices).phones
    plain = Manner(guidance=1.0, prompt_guidance=1.0)
    variants: list[tuple[str, Manner, PhoneModel | None, int]] = [
        ("nothing of these", plain, None, 0),
    ]
    for steps in arguments.adaptations:
        variants.append((f"the defaults, {steps} steps", MANNER, phones, steps))
    for guidance in arguments.phone_guidances:
        manner = dataclasses.replace(MANNER, guidance=guidance)
        variants.append((f"phones with guidance {guidance:g}", manner, phones, VOICE_STEPS))
    for guidance in arguments.guidances:
        manner = dataclasses.replace(MANNER, prompt_guidance=guidance)
        variants.append((f"guidance {guidance:g}", manner, phones, VOICE_STEPS))
    for temperature in arguments.temperatures:
        manner = dataclasses.replace(MANNER, temperature=temperature)
        variants.append((f"temperature {temperature:g}", manner, phones, VOICE_STEPS))
    for name, manner, says, steps in variants:
        follows = bench.continued(manner, arguments.seconds, says, steps)
        rows.append([name, *shown(bench.measured(follows))])
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    costs = bench.bits()
    prior = costs["entropy prior"].mean()
    bit_rows = [
        [name, *(f"{value:.2f}" for value in bits), f"{bits.sum() * rate:.0f}",
         f"{1 - 2 ** (bits.mean() - prior):.1%}"]
        for name, bits in costs.items()
    ]  # fmt: skip
    kind_head, kinds, chance = composed(
        lm, model, arguments.tokens, arguments.pieces, arguments.tag_guidances
    )
    frames, first = speed(lm, phones)
    return TEMPLATE.format(
        command=command,
        machine=machine(),
        versions=", ".join(f"{name} {version}" for name, version in versions().items()),
        parameters=sum(parameter.numel() for parameter in lm.network.parameters()) / 1e6,
        levels=levels,
        kbits=levels * 10 * rate / 1000,
        count=len(items),
        prompt=PROMPT,
        speakers=len({item.speaker for item in items}),
        seconds=arguments.seconds,
        top_p=MANNER.top_p,
        phone_guidance=MANNER.guidance,
        prompt_guidance=MANNER.prompt_guidance,
        steps=VOICE_STEPS,
        learning=learning(lm),
        told=bench.told(),
        silent=SILENT,
        quiet=QUIET,
        loop=LOOP,
        continuations=table(head, rows),
        bits=table(
            ["", *(f"level {q + 1}" for q in range(levels)), "bit/s", "perplexity lower by"],
            bit_rows,
        ),
        pieces=arguments.pieces,
        length=2 * PIECE,
        half=PIECE,
        chance=chance,
        kinds=table(kind_head, kinds),
        frames=frames,
        real_time=frames / rate,
        first=first,
    )


TEMPLATE = """\
# The language model of audio, measured

By `{command}`. Machine: {machine}. {versions}.

The model has {parameters:.1f} M parameters and {levels} levels ({kbits:g} kbit/s).

## Continuation

{count} prompts of {prompt:g} s, {speakers} speakers that training did not hear;
continuations of {seconds:g} s, top-p {top_p:g}. By default the model learns from the prompt in
{steps} steps, follows drawn phones with a guidance of {phone_guidance:g}, and the prompt with one
of {prompt_guidance:g}; *guidance* in the table is that by the prompt. The model takes {told:.0%} of
the prompts for speech. Similarity is the cosine of Resemblyzer's embeddings.
*Above all others*:
the share that is more like its prompt than like the mean of any other speaker. *Silent*: at least
{silent:g} s in a row are {quiet:g} dB below the prompt. *Loops*: {loop} frames in a row repeat,
in the first level, those at most 2 s before. The first row is what really followed, coded at these
levels.

{continuations}

## Bits

Bits a code of what really followed the prompts, by level; bit/s of all levels; and by how much the
perplexity lies below that of the shipped entropy prior (`--effort best`). All have read the prompt.

{bits}

## Composition

{pieces} compositions of {length:g} s of each kind, of which the last {half:g} s are classified.
*Real*: cross-validated over files, on real audio coded at these levels. Chance is {chance}. *Music
or sound*: at least that much is right.

{kinds}

## Speed

One thread, after a prompt of 3 s, with phones and guidance: {frames:.0f} frames a second of
processor time ({real_time:.1f} x real time), {first:.0f} ms to the first. To learn from the prompt
takes {learning:.1f} s before that.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=DEFAULT_LM)
    parser.add_argument("--voices", type=Path, default=SPEECH_FILE, help="a file that has phones")
    parser.add_argument("--count", type=int, default=50, help="prompts")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a continuation")
    parser.add_argument("--adaptations", type=int, nargs="*", default=ADAPTATIONS)
    parser.add_argument("--temperatures", type=float, nargs="*", default=TEMPERATURES)
    parser.add_argument("--phone-guidances", type=float, nargs="*", default=PHONE_GUIDANCES)
    parser.add_argument("--guidances", type=float, nargs="*", default=GUIDANCES)
    parser.add_argument("--tag-guidances", type=float, nargs="+", default=TAG_GUIDANCES)
    parser.add_argument("--pieces", type=int, default=5, help="compositions of a kind")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    try:
        command = f"python -m bench.lm DATA --tokens TOKENS --count {arguments.count} --seconds"
        command += f" {arguments.seconds:g} --pieces {arguments.pieces}"
        for name in (
            "adaptations",
            "phone_guidances",
            "guidances",
            "temperatures",
            "tag_guidances",
        ):
            given = " ".join(f"{value:g}" for value in getattr(arguments, name))
            command += f" --{name.replace('_', '-')} {given}"
        text = report(arguments, command)
    except CodecError as error:
        sys.exit(f"bench.lm: {error}")
    if arguments.output is None:
        print(text)
    else:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
