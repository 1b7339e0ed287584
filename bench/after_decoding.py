"""What the postfilter and the enhancer give: quality without and with them, and speed, as Markdown.

    python -m bench.after_decoding EVAL_DIR [--bitrates 1.5,3,6] [--beam 1] [--refine 0]
        [--jobs 2] [-o FILE]

Clips are named speech_*, music_* or general_*. A bitrate is that of the codes before entropy
coding, and the table has that of the payloads after it; --beam and --refine say how codes are
searched. Speeds are those of `Codec.decode` on one thread, and of a stream that is given a frame at
a time: seconds of audio a second of CPU time, the median of five rounds in which all take turns.
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
from codec.benchmark.peers.own import Own
from codec.engine.refine import Search
from codec.errors import CodecError
from codec.quality import measure

MEASURES = {
    "bits": ("after entropy coding", 2),
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

# By what the table calls it: the arguments of `Codec.decode`.
AFTER: dict[str, dict[str, bool]] = {
    "nothing": {},
    "postfilter": {"postfilter": True},
    "enhancer": {"enhance": True},
}

Row = dict[str, float]
Key = tuple[str, float, str]  # kind, kbit/s, one of AFTER


@cache
def _own(search: Search) -> Own:
    return Own(search=search)


@cache
def _model() -> codec.Codec:
    return codec.load()


def _measured(clip: Clip, kbps: float, search: Search) -> list[tuple[Key, Row]]:
    own = _own(search)
    coded = own.encode(clip.audio, f"{kbps:g}")
    bits = coded.payload_bits * SAMPLE_RATE / len(clip.audio) / 1000
    names = OF_SPEECH if clip.kind == "speech" else OF_OTHERS
    rows = []
    for after, wanted in AFTER.items():
        decoded = own.codec.decompress(coded.data, **wanted)[0][0]
        label = f"{clip.name} at {kbps:g} kbit/s, {after}"
        found = measure(
            clip.audio, decoded, SAMPLE_RATE, kind=clip.kind, names=names, clip=label, align=False
        )
        rows.append(((clip.kind, kbps, after), {"bits": bits, **found.values}))
    return rows


def quality(clips: Sequence[Clip], rates: Sequence[float], search: Search, jobs: int) -> str:
    """Measure every clip at every rate, after each of AFTER: a table of means."""
    work = [(clip, rate, search) for clip in clips for rate in rates]
    rows: dict[Key, list[Row]] = {}
    with ProcessPoolExecutor(jobs) as pool:
        results = pool.map(_measured, *zip(*work, strict=True))
        for found in tqdm(results, total=len(work), disable=None):
            for key, row in found:
                rows.setdefault(key, []).append(row)
    titles = [title for title, _ in MEASURES.values()]
    lines = [f"| kind | clips | kbit/s | after decoding | {' | '.join(titles)} |"]
    lines.append("|---|--:|--:|---|" + "--:|" * len(titles))
    order = list(AFTER)
    for key in sorted(rows, key=lambda key: (KINDS.index(key[0]), key[1], order.index(key[2]))):
        measured, (kind, kbps, after) = rows[key], key
        cells = [kind, str(len(measured)), f"{kbps:g}", after]
        for name, (_, digits) in MEASURES.items():
            values = [row[name] for row in measured if name in row]
            cells.append(f"{np.mean(values):.{digits}f}" if values else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def speed(clips: Sequence[Clip], kbps: float) -> str:
    """Time `Codec.decode` and streams with each of AFTER: two sentences."""
    audio = np.concatenate([clip.audio for clip in clips])[: 30 * SAMPLE_RATE]
    tokens = _model().encode(audio, SAMPLE_RATE, bitrate=1000 * kbps)

    def whole(after: str) -> None:
        _model().decode(tokens, **AFTER[after])

    def streamed(after: str) -> None:
        wanted, codes = AFTER[after], tokens.codes[0]
        decoder = _model().stream_decoder(
            postfilter="postfilter" in wanted, enhance="enhance" in wanted
        )
        for frame in range(tokens.n_frames):
            decoder.push(codes[:, frame : frame + 1])
        decoder.flush()

    said = []
    for what, decode in (("Decoding", whole), ("A stream, frame by frame,", streamed)):
        taken: dict[str, list[float]] = {after: [] for after in AFTER}
        for _ in range(ROUNDS):
            for after, times in taken.items():
                begun = time.process_time()
                decode(after)
                times.append(time.process_time() - begun)
        rates = [
            f"{len(audio) / SAMPLE_RATE / statistics.median(times):.0f} with {after}"
            for after, times in taken.items()
        ]
        said.append(
            f"{what} on one thread at {kbps:g} kbit/s, in times real time: {', '.join(rates)} after"
            " it."
        )
    return "\n".join(said)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="EVAL_DIR")
    parser.add_argument("--bitrates", type=numbers, default="1.5,3,6")
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--refine", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, help="default: standard output")
    options = parser.parse_args(arguments)
    search = Search(options.beam, options.refine)
    try:
        clips = [clip for clip in read_clips(options.folder) if clip.kind in KINDS]
        parts = [
            f"Model {_model().model_id.hex()}; {len(clips)} clips; codes by {search.described()};"
            f" {machine()}.",
            quality(clips, options.bitrates, search, options.jobs),
            speed(clips, options.bitrates[0]),
        ]
    except CodecError as error:
        sys.exit(f"error: {error}")
    text = "\n\n".join(parts) + "\n"
    put(text, options.output)


if __name__ == "__main__":
    main()
