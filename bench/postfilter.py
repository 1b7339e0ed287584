"""What the postfilter gives: quality without and with it, and its speed, as Markdown.

    python -m bench.postfilter EVAL_DIR [--bitrates 1.5,3,6] [--jobs 2] [-o FILE]

Clips are named speech_*, music_* or general_*. A bitrate is that of the codes before entropy
coding. The speed is that of `Codec.decode` on one thread: seconds of audio a second of CPU time,
the median of five rounds in which both take turns.
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
from bench.clips import KINDS, SAMPLE_RATE, Clip, read_clips
from bench.output import put
from bench.searches import numbers
from codec.benchmark.machine import machine
from codec.errors import CodecError
from codec.quality import measure

MEASURES = {
    "pesq_wb": ("PESQ-WB", 2),
    "stoi": ("STOI", 3),
    "distillmos": ("DistillMOS", 2),
    "dnsmos_ovrl": ("DNSMOS", 2),
    "visqol": ("ViSQOL", 2),
    "mel": ("mel distance", 3),
}
OF_SPEECH = ("pesq_wb", "stoi", "distillmos", "dnsmos_ovrl", "visqol", "mel")
OF_OTHERS = ("visqol", "mel")
ROUNDS = 5

Row = dict[str, float]
Key = tuple[str, float, bool]  # kind, kbit/s, whether filtered


@cache
def _model() -> codec.Codec:
    return codec.load()


def _measured(clip: Clip, kbps: float, filtered: bool) -> tuple[Key, Row]:
    model = _model()
    tokens = model.encode(clip.audio, SAMPLE_RATE, bitrate=1000 * kbps)
    decoded = model.decode(tokens, postfilter=filtered)[0]
    names = OF_SPEECH if clip.kind == "speech" else OF_OTHERS
    label = f"{clip.name} at {kbps:g} kbit/s"
    found = measure(
        clip.audio, decoded, SAMPLE_RATE, kind=clip.kind, names=names, clip=label, align=False
    )
    return (clip.kind, kbps, filtered), dict(found.values)


def quality(clips: Sequence[Clip], rates: Sequence[float], jobs: int) -> str:
    """Measure every clip at every rate, without and with the filter: a table of means."""
    work = [(clip, rate, on) for clip in clips for rate in rates for on in (False, True)]
    rows: dict[Key, list[Row]] = {}
    with ProcessPoolExecutor(jobs) as pool:
        results = pool.map(_measured, *zip(*work, strict=True))
        for key, row in tqdm(results, total=len(work), disable=None):
            rows.setdefault(key, []).append(row)
    titles = [title for title, _ in MEASURES.values()]
    lines = [f"| kind | clips | kbit/s | postfilter | {' | '.join(titles)} |"]
    lines.append("|---|--:|--:|---|" + "--:|" * len(titles))
    for kind, kbps, on in sorted(rows, key=lambda key: (KINDS.index(key[0]), *key[1:])):
        found = rows[kind, kbps, on]
        cells = [kind, str(len(found)), f"{kbps:g}", "with" if on else "without"]
        for name, (_, digits) in MEASURES.items():
            values = [row[name] for row in found if name in row]
            cells.append(f"{np.mean(values):.{digits}f}" if values else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def speed(clips: Sequence[Clip], kbps: float) -> str:
    """Time `Codec.decode` without and with the filter: a sentence."""
    audio = np.concatenate([clip.audio for clip in clips])[: 30 * SAMPLE_RATE]
    tokens = _model().encode(audio, SAMPLE_RATE, bitrate=1000 * kbps)
    taken: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(ROUNDS):
        for on, times in taken.items():
            begun = time.process_time()
            _model().decode(tokens, postfilter=on)
            times.append(time.process_time() - begun)
    seconds = len(audio) / SAMPLE_RATE
    plain, filtered = (seconds / statistics.median(taken[on]) for on in (False, True))
    return (
        f"Decoding on one thread at {kbps:g} kbit/s: {plain:.0f} times real time without and"
        f" {filtered:.0f} with it."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="EVAL_DIR")
    parser.add_argument("--bitrates", type=numbers, default="1.5,3,6")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, help="default: standard output")
    options = parser.parse_args(arguments)
    try:
        clips = [clip for clip in read_clips(options.folder) if clip.kind in KINDS]
        parts = [
            f"Model {_model().model_id.hex()}; {len(clips)} clips; {machine()}.",
            quality(clips, options.bitrates, options.jobs),
            speed(clips, options.bitrates[0]),
        ]
    except CodecError as error:
        sys.exit(f"error: {error}")
    text = "\n\n".join(parts) + "\n"
    put(text, options.output)


if __name__ == "__main__":
    main()
