"""Ways to search for the codes, side by side: quality, bits and speed as Markdown.

What `bench.beam` and `bench.refine` share. Clips are named speech_*, music_* or general_*, or
`--kind` says what all are. A bitrate is that of the codes before entropy coding; the table has the
bits of the payloads after it (`--effort best`). The speed is that of `Codec.encode` on one thread:
seconds of audio a second of CPU time, the median of some rounds in which all searches take turns,
so that other load on the machine slows all alike. `--speed-only` measures nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

import codec
from bench.clips import KINDS, OTHER, SAMPLE_RATE, Clip, read_clips
from bench.output import put
from codec.benchmark.machine import machine
from codec.benchmark.peers.own import Own
from codec.engine.refine import Search
from codec.errors import CodecError
from codec.quality import measure

MEASURES = {
    "pesq_wb": ("PESQ-WB", 2),
    "stoi": ("STOI", 3),
    "distillmos": ("DistillMOS", 2),
    "visqol": ("ViSQOL", 2),
    "mel": ("mel distance", 3),
}
OF_SPEECH = ("pesq_wb", "stoi", "distillmos", "mel")
OF_OTHERS = ("visqol", "mel")
SPEED = "Encoding on one thread, times real time, entropy coding not counted:"

Row = dict[str, float]


@cache
def _own(search: Search) -> Own:
    return Own(search=search)


def _measured(clip: Clip, kind: str, search: Search, kbps: float) -> tuple[str, Search, float, Row]:
    own = _own(search)
    coded = own.encode(clip.audio, f"{kbps:g}")
    decoded = own.decode(coded.data, f"{kbps:g}")
    names = OF_SPEECH if kind == "speech" else OF_OTHERS
    label = f"{clip.name} with {search.described()} at {kbps:g} kbit/s"
    found = measure(
        clip.audio, decoded, SAMPLE_RATE, kind=kind, names=names, clip=label, align=False
    )
    bits = coded.payload_bits * SAMPLE_RATE / len(clip.audio) / 1000
    return kind, search, kbps, {"bits": bits, **found.values}


def quality(
    clips: Sequence[Clip],
    kind: str | None,
    searches: Sequence[Search],
    rates: Sequence[float],
    jobs: int,
) -> str:
    """Measure every clip with every search at every rate: a table of means."""
    work = [
        (clip, kind or clip.kind, search, rate)
        for clip in clips
        for rate in rates
        for search in searches
    ]
    with ProcessPoolExecutor(jobs) as pool:
        done = tqdm(pool.map(_measured, *zip(*work, strict=True)), total=len(work), disable=None)
        rows = list(done)
    taken = [name for name in MEASURES if any(name in row for *_, row in rows)]
    titles = ["kind", "clips", "kbit/s", "search", "after entropy coding"]
    titles += [MEASURES[name][0] for name in taken]
    lines = [f"| {' | '.join(titles)} |"]
    lines.append("|---|" + "--:|" * (len(titles) - 1))
    for one in (*KINDS, OTHER):
        for rate in rates:
            for search in searches:
                found = [row for k, s, r, row in rows if (k, s, r) == (one, search, rate)]
                if not found:
                    continue
                cells = [one, str(len(found)), f"{rate:g}", search.described()]
                cells.append(f"{np.mean([row['bits'] for row in found]):.3f}")
                for name in taken:
                    values = [row[name] for row in found if name in row]
                    digits = MEASURES[name][1]
                    cells.append(f"{np.mean(values):.{digits}f}" if values else "")
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def speed(
    clips: Sequence[Clip],
    searches: Sequence[Search],
    rates: Sequence[float],
    seconds: int,
    rounds: int,
) -> str:
    """Time `Codec.encode` on one thread: a table of times real time."""
    audio = np.concatenate([clip.audio for clip in clips])[: seconds * SAMPLE_RATE]
    model = codec.load()
    taken: dict[tuple[float, Search], list[float]] = {}
    for _ in range(rounds):
        for rate in rates:
            for search in searches:
                begun = time.process_time()
                model.encode(audio, SAMPLE_RATE, bitrate=1000 * rate, **search._asdict())
                taken.setdefault((rate, search), []).append(time.process_time() - begun)
    length = len(audio) / SAMPLE_RATE
    lines = [f"| kbit/s | {' | '.join(search.described() for search in searches)} |"]
    lines.append("|---|" + "--:|" * len(searches))
    for rate in rates:
        times = [length / statistics.median(taken[rate, search]) for search in searches]
        cells = (f"{x:.{0 if x >= 10 else 2}f}" for x in times)
        lines.append(f"| {rate:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def numbers(text: str) -> list[float]:
    """Parse a list of numbers. Raises ArgumentTypeError on anything else."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a list of numbers: {text}") from None


def arguments_of(doc: str | None) -> argparse.ArgumentParser:
    """Make the parser of a script whose docstring is `doc`, with what `report` needs."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="EVAL_DIR")
    parser.add_argument("--kind", choices=KINDS, help="of all clips; default: by their names")
    parser.add_argument("--bitrates", type=numbers, default="1.5,3,6")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--speed-only", action="store_true", help="leave out the quality")
    parser.add_argument("-o", "--output", type=Path, help="default: standard output")
    return parser


def report(
    options: argparse.Namespace, searches: Sequence[Search], seconds: int, rounds: int
) -> None:
    """Measure `searches` as the options of `arguments_of` say, and write the tables.

    seconds: of audio, whose encoding is timed `rounds` times.
    """
    try:
        clips = read_clips(options.folder)
        model = codec.load().model_id.hex()
        parts = [f"Model {model}; {len(clips)} clips; {machine()}."]
        if not options.speed_only:
            parts.append(quality(clips, options.kind, searches, options.bitrates, options.jobs))
        parts.append(SPEED)
        parts.append(speed(clips, searches, options.bitrates, seconds, rounds))
    except CodecError as error:
        sys.exit(f"error: {error}")
    text = "\n\n".join(parts) + "\n"
    put(text, options.output)
