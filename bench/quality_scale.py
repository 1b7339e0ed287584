"""Measure each step of `codec compress --quality`: bits, PESQ-WB and log-mel distance.

    python -m bench.quality_scale EVAL_DIR

Prints a table; beside every quality there is the fixed number of codebooks nearest to its bits.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import codec
from codec.audio import READ_SUFFIXES, read_audio, resample
from codec.quality import METRICS

QUALITIES = (0, 2, 4, 5, 6, 7, 8, 9, 10)
SECONDS = 6
SAMPLE_RATE = 24_000


def measure(tool: codec.Codec, audio: np.ndarray, speech: bool, **bits: float) -> list[float]:
    """Kbit/s of the codes, log-mel distance, and PESQ-WB of speech, else NaN."""
    data = tool.compress(audio, SAMPLE_RATE, effort="raw", **bits)  # type: ignore[arg-type]
    decoded = tool.decompress(data)[0][0]
    kbps = 8 * len(data) / len(audio) * SAMPLE_RATE / 1000
    mel = METRICS["mel"](audio, decoded, SAMPLE_RATE)
    return [kbps, mel, METRICS["pesq_wb"](audio, decoded, SAMPLE_RATE) if speech else np.nan]


def main() -> None:
    tool = codec.load()
    clips = []
    for path in sorted(Path(sys.argv[1]).iterdir()):
        if path.suffix.lower() in READ_SUFFIXES:
            audio, rate = read_audio(path)
            mono = resample(audio.mean(axis=0), rate, SAMPLE_RATE)[: SECONDS * SAMPLE_RATE]
            clips.append((mono, path.name.startswith("speech")))
    print("| setting | kbit/s with all that a file holds | mel distance, and its s. d. | PESQ-WB |")
    print("|---|--:|--:|--:|")
    settings = [("quality", {"quality": q}) for q in QUALITIES]
    settings += [("codebooks", {"n_codebooks": k}) for k in (1, 2, 4, 8, 12, 24)]
    for name, bits in settings:
        rows = np.array([measure(tool, audio, speech, **bits) for audio, speech in clips])
        kbps, mel, pesq = np.nanmean(rows, axis=0)
        spread = rows[:, 1].std()
        value = next(iter(bits.values()))
        print(
            f"| {name} {value:g} | {kbps:.2f} | {mel:.3f} ± {spread:.3f} | {pesq:.2f} |", flush=True
        )


if __name__ == "__main__":
    main()
