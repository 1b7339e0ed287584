"""Draw spectrograms of clips before and after the codec, one PNG per clip.

    python -m bench.spectrograms EVAL_DIR -o DIR [--bitrate 6] [--weights W.safetensors] [--all]

The original is above, the decoded below, both in dB relative to the original's loudest bin, so that
a gap, a click (a vertical line) or a buzz (a horizontal line) shows. Speech only with --all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

import codec
from bench.clips import SAMPLE_RATE, Audio, read_clips
from codec.errors import CodecError

matplotlib.use("Agg")
from matplotlib import pyplot as plt

WINDOW = 1024
HOP = 256
RANGE_DB = 90.0


def power_spectrogram(audio: Audio) -> npt.NDArray[np.float64]:
    """Power [bins, frames]; frame t is centred on sample t * HOP (Hann, zeros around)."""
    padded = np.pad(audio, WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    spectrum = np.fft.rfft(frames * np.hanning(WINDOW + 1)[:-1], axis=1)
    return np.square(np.abs(spectrum)).T


def draw_pair(
    original: Audio,
    decoded: Audio,
    title: str,
    path: Path,
    names: tuple[str, str] = ("original", "decoded"),
) -> None:
    """Write a PNG with the spectrograms of both [samples] signals at 24 kHz."""
    powers = [power_spectrogram(audio) for audio in (original, decoded)]
    top = powers[0].max() or 1.0
    figure, axes = plt.subplots(2, 1, figsize=(14, 9), sharex=True, layout="constrained")
    half = HOP / SAMPLE_RATE / 2
    for axis, power, name in zip(axes, powers, names, strict=True):
        decibels = 10 * np.log10(np.maximum(power / top, 10 ** (-RANGE_DB / 10)))
        image = axis.imshow(
            decibels,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=-RANGE_DB,
            vmax=0,
            extent=(-half, (2 * power.shape[1] - 1) * half, 0, SAMPLE_RATE / 2000),
        )
        axis.set_title(f"{title}: {name}")
        axis.set_ylabel("kHz")
    axes[-1].set_xlabel("s")
    figure.colorbar(image, ax=axes, label="dB re the original's loudest bin")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="EVAL_DIR")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--bitrate", type=float, default=6.0, help="kbit/s (default: 6)")
    parser.add_argument("--weights", default="default", help=".safetensors; default: the package's")
    parser.add_argument("--all", action="store_true", help="speech too")
    options = parser.parse_args(arguments)
    try:
        model = codec.load(options.weights)
        clips = [c for c in read_clips(options.folder) if options.all or c.kind != "speech"]
        if not clips:
            sys.exit(f"error: only speech in {options.folder}; --all draws it")
        options.output.mkdir(parents=True, exist_ok=True)
        for clip in tqdm(clips, unit="clip", disable=None):
            tokens = model.encode(clip.audio, SAMPLE_RATE, bitrate=1000 * options.bitrate)
            title = f"{clip.name}, {options.bitrate:g} kbit/s"
            draw_pair(
                clip.audio, model.decode(tokens)[0], title, options.output / f"{clip.name}.png"
            )
    except CodecError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
