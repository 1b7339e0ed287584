"""Measure the codec on a folder of clips, by bitrate and kind of audio, as a Markdown table.

    python -m bench.quality EVAL_DIR [--weights W.safetensors] [--bitrates 0.5,1,1.5,3,6]
                            [--visqol] [--json OUT]

Clips are named speech_*, music_* or general_*; any other name makes kind "audio". `codec.quality`
defines the measures. PESQ and STOI are measured on speech alone; ViSQOL in speech mode (16 kHz) on
speech and in audio mode (48 kHz) on the rest. A measure that has no value ends the run with the
clip's name: no mean hides it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

import codec
from bench.clips import KINDS, OTHER, SAMPLE_RATE, Clip, read_clips
from codec.benchmark.machine import machine
from codec.benchmark.tokens import codebook_use as codebook_share
from codec.errors import CodecError
from codec.quality import measure

COLUMNS = {
    "pesq_wb": "PESQ-WB",
    "stoi": "STOI",
    "visqol": "ViSQOL",
    "mel": "mel distance",
    "si_sdr": "SI-SDR (dB)",
}
SPEECH_ONLY = ("pesq_wb", "stoi")
ALWAYS = ("mel", "si_sdr")
DIGITS = {"stoi": 3, "mel": 3}

Codes = npt.NDArray[np.uint16]


@dataclasses.dataclass(frozen=True)
class Measured:
    """One clip at one bitrate."""

    clip: str
    kind: str
    kbps: float
    values: dict[str, float]


@dataclasses.dataclass(frozen=True)
class CodebookUse:
    """How the codes of one level are spread over all clips."""

    level: int  # from 1, coarsest first
    used: float  # share of the codebook that occurs at all
    perplexity: float  # exp of the codes' entropy in nats; the codebook's size if uniform


def evaluate(
    model: codec.Codec,
    clips: Sequence[Clip],
    kbps: Sequence[float],
    visqol: bool = False,
    on_clip: Callable[[Clip], object] = lambda clip: None,
) -> tuple[list[Measured], list[CodebookUse]]:
    """Every clip measured at every bitrate (kbit/s), and the use of all codebooks.

    Each clip is encoded once; lower bitrates decode a prefix of its codebooks. Raises MetricError
    with the clip's name if a measure has no value, BitrateError if the model lacks a bitrate.
    """
    counts = [model.codebooks_for(1000 * rate) for rate in kbps]
    measured, codes = [], []
    for clip in clips:
        tokens = model.encode(clip.audio, SAMPLE_RATE)
        codes.append(tokens.codes[0])
        for rate, count in zip(kbps, counts, strict=True):
            decoded = model.decode(tokens.first(count))[0]
            label = f"{clip.name} at {rate:g} kbit/s"
            names = [*(SPEECH_ONLY if clip.kind == "speech" else ()), *ALWAYS, *["visqol"] * visqol]
            # The decoder compensates its delay to the sample: there is none to look for.
            found = measure(
                clip.audio,
                decoded,
                SAMPLE_RATE,
                kind=clip.kind,
                names=names,
                clip=label,
                align=False,
            )
            measured.append(Measured(clip.name, clip.kind, rate, found.values))
        on_clip(clip)
    return measured, codebook_use(np.concatenate(codes, axis=1), model.config.codebook_size)


def codebook_use(codes: Codes, codebook_size: int) -> list[CodebookUse]:
    """Use of each level of `codes`, uint16 [levels, frames]."""
    return [
        CodebookUse(level, *codebook_share(row, codebook_size))
        for level, row in enumerate(codes, start=1)
    ]


def means(measured: Sequence[Measured]) -> dict[tuple[str, float], dict[str, float]]:
    """Mean of each measure by (kind, kbit/s), kinds in the order of KINDS."""
    rows: dict[tuple[str, float], list[dict[str, float]]] = {}
    for item in measured:
        rows.setdefault((item.kind, item.kbps), []).append(item.values)
    order = (*KINDS, OTHER)
    return {
        key: {name: float(np.mean([row[name] for row in rows[key]])) for name in rows[key][0]}
        for key in sorted(rows, key=lambda key: (order.index(key[0]), key[1]))
    }


def quality_table(measured: Sequence[Measured]) -> str:
    """Markdown: a row for each kind and bitrate, a column for each measure taken."""
    averages = means(measured)
    taken = [name for name in COLUMNS if any(name in row for row in averages.values())]
    lines = [
        " | ".join(["| kind", "clips", "kbit/s", *(COLUMNS[name] for name in taken)]) + " |",
        "|---|" + "--:|" * (2 + len(taken)),
    ]
    for (kind, rate), row in averages.items():
        count = sum((item.kind, item.kbps) == (kind, rate) for item in measured)
        cells = [f"{row[name]:.{DIGITS.get(name, 2)}f}" if name in row else "" for name in taken]
        lines.append(" | ".join([f"| {kind}", str(count), f"{rate:g}", *cells]) + " |")
    return "\n".join(lines)


def use_table(use: Sequence[CodebookUse], frames: int, codebook_size: int) -> str:
    """Markdown: used share and perplexity of each codebook."""
    lines = [f"Codebooks of {codebook_size}, over {frames} frames:", ""]
    lines += ["| level | used | perplexity |", "|--:|--:|--:|"]
    lines += [f"| {row.level} | {row.used:.1%} | {row.perplexity:.1f} |" for row in use]
    return "\n".join(lines)


def parse_bitrates(text: str) -> list[float]:
    """Ascending kbit/s of a comma-separated list. Raises ArgumentTypeError on anything else."""
    try:
        rates = sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a list of kbit/s: {text}") from None
    return rates


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="EVAL_DIR")
    parser.add_argument("--weights", default="default", help=".safetensors; default: the package's")
    parser.add_argument("--bitrates", type=parse_bitrates, default="0.5,1,1.5,3,6")
    parser.add_argument("--visqol", action="store_true", help="ViSQOL too: some seconds a clip")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every clip's numbers here")
    options = parser.parse_args(arguments)
    try:
        model = codec.load(options.weights)
        clips = read_clips(options.folder)
        with tqdm(total=len(clips), unit="clip", disable=None) as bar:
            measured, use = evaluate(
                model, clips, options.bitrates, options.visqol, lambda clip: bar.update()
            )
    except CodecError as error:
        sys.exit(f"error: {error}")
    frames = sum(model.config.n_frames(len(clip.audio)) for clip in clips)
    print(f"Model {model.model_id.hex()}; {len(clips)} clips; {machine()}\n")
    print(quality_table(measured), end="\n\n")
    print(use_table(use, frames, model.config.codebook_size))
    if options.json:
        report: dict[str, Any] = {
            "model_id": model.model_id.hex(),
            "machine": machine(),
            "clips": [dataclasses.asdict(item) for item in measured],
            "means": [
                {"kind": kind, "kbps": rate, **row} for (kind, rate), row in means(measured).items()
            ],
            "codebooks": [dataclasses.asdict(row) for row in use],
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
