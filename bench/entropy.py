"""Measure the bits of the entropy coders on a folder of clips, by level and bitrate.

    python -m bench.entropy EVAL_DIR --output bench/entropy.md

Every clip is cut into the chunks that a file has, each coded by itself. `order-0` is what the
frequencies of each level's codes among these clips give: the bound for tables without context.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.clips import KINDS, OTHER, Clip, read_clips
from bench.output import put
from codec.benchmark.tokens import order_0_bits
from codec.coders import entropy
from codec.engine.native import NativeBackend
from codec.errors import CodecError
from codec.model.config import ModelConfig
from codec.model.location import DEFAULT_WEIGHTS

FRAMES_PER_CHUNK = 50
BITRATES = (1.5, 3.0, 6.0)
Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint16]
Coders = dict[str, "entropy.TablesCoder | entropy.PriorCoder"]


@dataclasses.dataclass
class Measured:
    """Sums over the clips of one kind at one number of levels."""

    frames: int
    seconds_of_audio: float
    order_0: Floats  # [levels] bits, as all the others
    predicted: dict[str, Floats]
    rounded: dict[str, Floats]  # with the frequencies that the range coder gets
    coded: dict[str, float]
    seconds: dict[str, tuple[float, float]]  # of encoding and decoding

    def row(self, bits: float) -> float:
        """kbit/s."""
        return bits / self.seconds_of_audio / 1000


def chunks(codes: Codes, levels: int) -> list[Codes]:
    return [
        np.ascontiguousarray(codes[None, :levels, at : at + FRAMES_PER_CHUNK])
        for at in range(0, codes.shape[1], FRAMES_PER_CHUNK)
    ]


def measure(codes: Sequence[Codes], levels: int, config: ModelConfig, coders: Coders) -> Measured:
    frames = sum(item.shape[1] for item in codes)
    by_frequency = order_0_bits(np.concatenate(codes, axis=1)[:levels], config.codebook_size)
    result = Measured(frames, frames / config.frame_rate, by_frequency, {}, {}, {}, {})
    for name, coder in coders.items():
        predicted, rounded = np.zeros(levels), np.zeros(levels)
        coded, encoding, decoding = 0, 0.0, 0.0
        for item in codes:
            for chunk in chunks(item, levels):
                payload, as_predicted, as_rounded = coder.costs(chunk)
                predicted += as_predicted[0].sum(axis=1, dtype=np.float64)
                rounded += as_rounded[0].sum(axis=1, dtype=np.float64)
                coded += 8 * len(payload)
                begun = time.perf_counter()
                again = coder.encode(chunk)
                middle = time.perf_counter()
                back = coder.decode(payload, *chunk.shape)
                encoding += middle - begun
                decoding += time.perf_counter() - middle
                if again != payload or not np.array_equal(back, chunk):
                    raise SystemExit(f"{name}: the round trip is not exact")
        result.predicted[name], result.rounded[name] = predicted, rounded
        result.coded[name], result.seconds[name] = float(coded), (encoding, decoding)
    return result


def rates_table(found: dict[tuple[str, int], Measured], config: ModelConfig) -> str:
    lines = [
        "| kind | raw kbit/s | order-0 | fast | saved | best | saved | overhead, fast / best |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for (kind, levels), item in found.items():
        raw = config.bitrate_per_codebook * levels / 1000
        cells = [kind, f"{raw:g}", f"{item.row(item.order_0.sum()):.2f}"]
        overheads = []
        for name, coded in item.coded.items():
            cells += [f"{item.row(coded):.2f}", f"{1 - item.row(coded) / raw:.1%}"]
            overheads.append(f"{coded / item.predicted[name].sum() - 1:.2%}")
        lines.append("| " + " | ".join([*cells, " / ".join(overheads)]) + " |")
    return "\n".join(lines)


def levels_table(item: Measured, raw_bits: int) -> str:
    names = list(item.predicted)
    lines = [
        "| level | raw | order-0 | " + " | ".join(names) + " |",
        "|--:|--:|--:|" + "--:|" * len(names),
    ]
    for level in range(len(item.order_0)):
        bits = [item.order_0[level], *(item.rounded[name][level] for name in names)]
        cells = [f"{value / item.frames:.2f}" for value in bits]
        lines.append(f"| {level + 1} | {raw_bits} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def speeds(item: Measured) -> str:
    audio = item.seconds_of_audio
    parts = [
        f"`{name}` encodes at {audio / encoding:.0f} and decodes at {audio / decoding:.0f} x"
        for name, (encoding, decoding) in item.seconds.items()
    ]
    return "; ".join(parts)


def report(clips: Sequence[Clip], weights: Path) -> str:
    backend = NativeBackend(weights)
    config = backend.config
    coders: Coders = {
        "fast": entropy.load(weights, entropy.TablesCoder.coder_id),
        "best": entropy.load(weights, entropy.PriorCoder.coder_id),
    }
    codes = {clip.name: backend.encode(clip.audio, config.n_codebooks) for clip in clips}
    found: dict[tuple[str, int], Measured] = {}
    for kind in (*KINDS, OTHER):
        chosen = [codes[clip.name] for clip in clips if clip.kind == kind]
        for rate in BITRATES:
            levels = round(rate * 1000 / config.bitrate_per_codebook)
            if chosen and 1 <= levels <= config.n_codebooks:
                found[kind, levels] = measure(chosen, levels, config, coders)
    first = next(kind for kind, _ in found)
    deepest = found[first, max(levels for kind, levels in found if kind == first)]
    raw_bits = config.bits_per_code
    return "\n\n".join(
        [
            "# What the entropy coders save",
            f"By `python -m bench.entropy`. Model {backend.model_id.hex()}, data "
            f"{coders['fast'].tables_id.hex()}; {len(clips)} clips; {platform.machine()}, "
            f"{backend.isa}. Each chunk of {FRAMES_PER_CHUNK} frames is coded on its own. kbit/s "
            "count the payloads. `order-0` uses the frequencies of each level's codes in these "
            "clips, corrected for their number. The overhead is what rounding to frequencies and "
            "the range coder add to the code length of the models.",
            rates_table(found, config),
            f"Speed on one thread with {len(deepest.order_0)} codebooks, in audio time: "
            f"{speeds(deepest)}.",
            f"Bits a code by level, {first}:",
            levels_table(deepest, raw_bits),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="clips named speech_*, music_*, ...")
    parser.add_argument("--model", type=Path, default=DEFAULT_WEIGHTS)
    parser.add_argument("--output", type=Path, help="a Markdown file; default: standard output")
    options = parser.parse_args(arguments)
    try:
        text = report(read_clips(options.folder), options.model) + "\n"
    except CodecError as error:
        sys.exit(f"entropy: {error}")
    put(text, options.output)


if __name__ == "__main__":
    main()
