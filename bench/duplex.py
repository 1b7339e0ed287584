"""Measure a conversation in simulated real time: how soon it replies, and how soon it is silent.

    python -m bench.duplex DATA [-o bench/duplex.md] [--minutes 10] [--paced]

DATA holds `transcribed_phones.tsv` (path, offset, duration, phones as START:PHONE, in 10 ms)
and the recordings that it names. Each stretch between two pauses of at least .2 s is a turn whose
first and last phones are known. The microphone hears one turn after another, 2 s apart: the reply,
a recording without an end, is interrupted by the next turn. Sound goes in and out in blocks of
10 ms, as a sound card's would; a block counts as played 10 ms after its time on the clock, as it
cannot be computed before it has been heard. The sound card's own buffers come on top.

With --paced, one conversation takes its minutes for real, beside a second process that never rests,
on the same core: each block comes when its time has come, and a frame is late if its sound is ready
more than 40 ms after that. Its table is added to the output. As a sound server's thread does, it
runs with a real-time priority (SCHED_RR), where the user may have one.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import gc
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

import codec
from codec.benchmark.machine import machine
from codec.lm.duplex import Conversation, Event, TurnTaking, load_detector

Floats = npt.NDArray[np.float32]

RATE, BLOCK, FRAME = 24_000, 240, 960
LEVELS = 8
PAUSE = 0.2  # seconds between phones that part two turns
AROUND = 0.1  # seconds kept before the first phone and after the last
APART = 2.0
BACKGROUND = -65.0  # dBFS
AUDIBLE = 10 ** (-50 / 20)
EAGER = TurnTaking(adaptive=False)


@dataclasses.dataclass(frozen=True)
class Utterance:
    """Speech whose first and last phones are known, and its pauses, all in samples."""

    audio: Floats
    first: int
    last: int
    pauses: tuple[tuple[int, int], ...]


def read_utterances(data: Path) -> Iterator[Utterance]:
    """Read all recordings with their phones."""
    with (data / "transcribed_phones.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            audio, rate = soundfile.read(data.parent / row["path"], dtype="float32")
            audio = soxr.resample(audio, rate, RATE).astype(np.float32)
            marks = [mark.split(":") for mark in row["phones"].split()]
            starts = [int(mark[0]) * RATE // 100 for mark in marks]
            names = [mark[1] if len(mark) > 1 else "SIL" for mark in marks]
            silent = [i for i, name in enumerate(names) if name == "SIL"]
            ends = [*starts[1:], len(audio)]
            spoken = [i for i in range(len(names)) if i not in silent]
            first, last = starts[spoken[0]], ends[spoken[-1]]
            inner = [i for i in silent if spoken[0] < i < spoken[-1]]
            yield Utterance(audio, first, last, tuple((starts[i], ends[i]) for i in inner))


def phrases(utterance: Utterance) -> Iterator[Utterance]:
    """Cut an utterance at its long pauses."""
    long = [p for p in utterance.pauses if p[1] - p[0] >= PAUSE * RATE]
    bounds = [
        utterance.first, *(place for pause in long for place in pause), utterance.last,
    ]  # fmt: skip
    for first, last in zip(bounds[::2], bounds[1::2], strict=True):
        if last - first >= RATE * 3 // 5:
            start = max(0, first - round(AROUND * RATE))
            audio = utterance.audio[start : last + round(AROUND * RATE)].copy()
            fade = np.linspace(0, 1, 240, dtype=np.float32)
            audio[:240] *= fade
            audio[-240:] *= fade[::-1]
            yield Utterance(audio, first - start, last - start, ())


@dataclasses.dataclass
class Session:
    """What a microphone hears, and where its turns begin and end."""

    mic: Floats
    turns: list[tuple[int, int]]


def session(turns: list[Utterance], seconds: float, noise: float, apart: float) -> Session:
    """Lay turns along the clock, again and again until `seconds` are full."""
    rng = np.random.default_rng(0)
    mic = rng.standard_normal(round(seconds * RATE)).astype(np.float32)
    mic *= 10 ** (noise / 20)
    at, number = RATE, 0
    found: list[tuple[int, int]] = []
    while True:
        turn = turns[number % len(turns)]
        if at + len(turn.audio) + round(apart * RATE) > len(mic):
            return Session(mic, found)
        mic[at : at + len(turn.audio)] += turn.audio
        found.append((at + turn.first, at + turn.last))
        at += turn.last + round(apart * RATE) + int(rng.integers(0, 2 * FRAME))
        number += 1


def room(level: float) -> Floats:
    """The path from loudspeaker to microphone: 30 ms, then 150 ms of reverberation."""
    rng = np.random.default_rng(3)
    tail = rng.standard_normal(3600) * np.exp(-np.arange(3600) / (0.03 * RATE))
    response = np.concatenate([np.zeros(720), tail])
    gain = 10 ** (level / 20) / np.sqrt((response**2).sum())
    return (response * gain).astype(np.float32)


@dataclasses.dataclass
class Result:
    out: Floats
    events: list[Event]
    cpu: list[float]  # milliseconds per frame
    delay: list[float]  # of a paced one: milliseconds from a block's time until it was ready


def converse(
    given: Session, reply: npt.NDArray[np.uint16], detector: str, rules: TurnTaking,
    echo: float | None = None, paced: bool = False,
) -> Result:  # fmt: skip
    """Drive a conversation through a session.

    echo: the loudspeaker in the microphone, dB. paced: in real time.
    """
    events: list[Event] = []
    conversation = Conversation(
        codec.load(), lambda turn: (reply for _ in range(99)), n_codebooks=LEVELS,
        detector=load_detector(RATE, detector), rules=rules,  # type: ignore[arg-type]
        echo=None if echo is None else -12.0, threaded=False, on_event=events.append,
    )  # fmt: skip
    mic = given.mic
    response = None if echo is None else room(echo)
    out = np.zeros(len(mic), np.float32)
    heard = np.zeros(len(mic) + 8192, np.float32)
    cpu, delay = [], []
    used = worst = 0.0
    start = time.perf_counter()
    for at in range(0, len(mic) // FRAME * FRAME, BLOCK):
        block = mic[at : at + BLOCK] + heard[at : at + BLOCK]
        due = start + (at + BLOCK) / RATE
        if paced:
            time.sleep(max(0.0, due - time.perf_counter()))
        before = time.thread_time()
        played = conversation.exchange(block)
        used += time.thread_time() - before
        worst = max(worst, time.perf_counter() - due)
        out[at : at + BLOCK] = played
        if response is not None and played.any():
            heard[at + BLOCK : at + 2 * BLOCK + len(response) - 1] += np.convolve(played, response)
        if (at + BLOCK) % FRAME == 0:
            cpu.append(1e3 * used)
            if paced:
                delay.append(1e3 * worst)
            used = worst = 0.0
    conversation.close()
    return Result(out, events, cpu, delay)


def latencies(given: Session, result: Result) -> tuple[list[float], list[float], int, int]:
    """Return ms to each reply and to silence, turns without a reply, and replies within a turn."""
    audible = np.abs(result.out) >= AUDIBLE
    began = [event.sample for event in result.events if event.kind == "reply began"]
    replies, silences, missed, early = [], [], 0, 0
    for number, (first, last) in enumerate(given.turns):
        until = given.turns[number + 1][0] if number + 1 < len(given.turns) else len(audible)
        early += sum(first < sample < last for sample in began)
        after = np.flatnonzero(audible[last:until])
        if len(after):
            replies.append((after[0] + BLOCK) / RATE * 1e3)
        else:
            missed += 1
        if audible[first - FRAME : first].any():  # the reply was playing: this turn interrupts it
            stops = [s for s in began if first < s < last]
            heard = np.flatnonzero(audible[first : min([last, *stops])])
            silences.append((heard[-1] + BLOCK) / RATE * 1e3 if len(heard) else 0.0)
    return replies, silences, missed, early


def spread(values: list[float]) -> str:
    median, high = np.median(values), np.percentile(values, 95)
    return f"{median:.0f} | {high:.0f} | {max(values):.0f}"


def cost(name: str, values: list[float]) -> str:
    late = sum(value > 40 for value in values)
    return (
        f"| {name} | {np.median(values):.2f} | {np.percentile(values, 95):.2f} |"
        f" {max(values):.1f} | {late} of {len(values)} |"
    )


def in_real_time() -> str:
    """Ask for a real-time priority, and say what this thread got."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    except PermissionError:
        return "ordinary priority"
    return "real-time priority (SCHED_RR)"


def busy() -> None:
    while True:
        pass


@contextlib.contextmanager
def rival() -> Iterator[None]:
    """A process that never rests, on this process's core."""
    process = multiprocessing.get_context("spawn").Process(target=busy, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0, help="of the longest conversation")
    parser.add_argument("--paced", action="store_true", help="in real time, under load, instead")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    utterances = list(read_utterances(options.data))
    turns = [phrase for utterance in utterances for phrase in phrases(utterance)]
    model = codec.load()
    speaker = max(utterances, key=lambda u: len(u.audio))
    reply = model.encode(
        speaker.audio[speaker.first + 1200 :][: 8 * RATE], RATE, n_codebooks=LEVELS
    ).codes[0]
    seconds = 60 * options.minutes
    if options.paced:
        with rival():
            scheduling = in_real_time()
            gc.freeze()  # as `codec converse` does: a full collection would make a frame late
            given = session(turns, seconds, BACKGROUND, APART)
            result = converse(given, reply, "silero", EAGER, paced=True)
        lines = [
            "",
            "## In real time, under load",
            "",
            f"`python -m bench.duplex DATA --minutes {options.minutes:g} --paced`:"
            f" Silero, headphones, on one core that a second process keeps busy;"
            f" {scheduling}. Milliseconds for each frame.",
            "",
            "| | median | 95 % | most | frames beyond 40 ms |",
            "|---|--:|--:|--:|--:|",
            cost("CPU", result.cpu),
            cost("from a block's time until its sound was ready", result.delay),
        ]
        print("\n".join(lines))
        if options.output:
            with options.output.open("a", encoding="utf-8") as file:
                file.write("\n".join([*lines, ""]))
        return
    lines = [
        "# Conversation: latencies and time per frame",
        "",
        f"`python -m bench.duplex DATA --minutes {options.minutes:g}`; {machine()}; model"
        f" `{model.model_id.hex()}`, {LEVELS} codebooks; one thread on one core. Simulated real"
        " time: the clock is that of the samples. `bench/duplex.py` describes the measurement.",
        "",
        f"## Turns out of {len(turns)} stretches of recorded speech",
        "",
        "Reply: from the end of the turn's last phone to the first audible sample (-50 dBFS) of the"
        " reply. Silence: from the beginning of the first phone of the turn that interrupts to the"
        " last audible sample. Milliseconds; the end of a turn is fixed at a pause of"
        f" {1e3 * EAGER.patience:.0f} ms (`adaptive=False`). Pauses within a turn are shorter than"
        f" {1e3 * PAUSE:.0f} ms; a reply that begins in one of them is early.",
        "",
        "| detector | microphone | reply: median | 95 % | most | silence: median | 95 % | most |"
        " turns | without reply | early |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    cases = [
        ("quiet, headphones", BACKGROUND, None),
        ("noise at -50 dBFS, headphones", -50.0, None),
        ("quiet, loudspeaker 20 dB down in the microphone", BACKGROUND, -20.0),
    ]
    costs: dict[tuple[str, str], Result] = {}
    for detector, some in (("silero", cases), ("energy", cases[:2])):
        for name, noise, echo in some:
            first = not costs
            given = session(turns, seconds if first else min(seconds, 180), noise, APART)
            result = converse(given, reply, detector, EAGER, echo)
            replies, silences, missed, early = latencies(given, result)
            costs[detector, name] = result
            lines.append(
                f"| {detector} | {name} | {spread(replies)} | {spread(silences)} |"
                f" {len(given.turns)} | {missed} | {early} |"
            )
            print(lines[-1], flush=True)
    lines += [
        "",
        "## Pauses within an utterance",
        "",
        f"{len(utterances)} whole utterances of LibriSpeech, which pause in the middle"
        f" {sum(len(u.pauses) for u in utterances)} times, 3 s apart, once each; Silero. Each reply"
        " that begins before the end is cut off when the speaker goes on. `adaptive` waits longer"
        " after each of them.",
        "",
        "| rules | replies before the end, per utterance | reply: median | 95 % | most |",
        "|---|--:|--:|--:|--:|",
    ]
    whole = session(
        utterances, sum(len(u.audio) for u in utterances) / RATE + 3.1 * len(utterances), -65.0, 3.0
    )
    for name, rules in (
        ("eager: 64 ms", EAGER),
        ("adaptive: 64 to 800 ms (the default)", TurnTaking()),
        ("patient: 600 ms", TurnTaking(patience=0.6, adaptive=False)),
    ):
        result = converse(whole, reply, "silero", rules)
        replies, _, _, early = latencies(whole, result)
        lines.append(f"| {name} | {early / len(whole.turns):.2f} | {spread(replies)} |")
        print(lines[-1], flush=True)
    lines += [
        "",
        "## Time per frame",
        "",
        "CPU of the thread that exchanges, milliseconds for each frame, of which 40 may pass.",
        "",
        "| | median | 95 % | most | frames beyond 40 ms |",
        "|---|--:|--:|--:|--:|",
        cost("Silero", costs["silero", cases[0][0]].cpu),
        cost("energy", costs["energy", cases[0][0]].cpu),
    ]
    print("\n".join(lines[-2:]))
    if options.output:
        options.output.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
