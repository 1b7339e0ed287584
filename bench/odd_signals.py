"""What becomes of signals that no recording is: tones, sweeps, noise, clicks; as Markdown.

    python -m bench.odd_signals [--kbps 6] [--level -20] [--refine 20] [--beam 16] [-o FILE]

Three seconds of each signal at so many dB RMS, less where it would clip, are encoded and decoded.
For each way there is how much louder the result is, in dB, and its mel distance
(`codec.quality.spectral.mel_distance`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import signal

import codec
from bench.clips import SAMPLE_RATE
from bench.output import put
from codec.engine.refine import PLAIN, Search
from codec.errors import CodecError
from codec.quality.spectral import mel_distance

SECONDS = 3
Floats = npt.NDArray[np.float64]


def signals() -> dict[str, Floats]:
    """Make each signal, by its name."""
    samples = SECONDS * SAMPLE_RATE
    time = np.arange(samples) / SAMPLE_RATE
    white = np.random.default_rng(0).standard_normal(samples)
    hertz = np.maximum(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE), 20)

    def tone(frequency: float) -> Floats:
        return np.sin(2 * np.pi * frequency * time)

    def coloured(exponent: float) -> Floats:
        return np.fft.irfft(np.fft.rfft(white) * hertz ** (-exponent / 2), samples)

    telephone = signal.butter(4, [300, 3400], "bandpass", fs=SAMPLE_RATE, output="sos")
    return {
        "white noise": white,
        "pink noise": coloured(1),
        "brown noise": coloured(2),
        "white noise of 300 to 3400 Hz": np.asarray(signal.sosfilt(telephone, white)),
        "white noise that pulses at 4 Hz": white * (1 + tone(4)),
        "tone of 440 Hz": tone(440),
        "tone of 1 kHz": tone(1000),
        "tone of 5 kHz": tone(5000),
        "major triad of tones from 262 Hz": tone(262) + tone(330) + tone(392),
        "square wave of 220 Hz": np.sign(tone(220)),
        "sawtooth of 110 Hz": np.asarray(signal.sawtooth(2 * np.pi * 110 * time)),
        "sweep from 50 Hz to 11 kHz": np.asarray(
            signal.chirp(time, 50, SECONDS, 11_000, "logarithmic")
        ),
        "10 clicks a second": (np.arange(samples) % (SAMPLE_RATE // 10) == 0).astype(np.float64),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kbps", type=float, default=6)
    parser.add_argument("--level", type=float, default=-20, help="dB RMS")
    parser.add_argument("--refine", type=int, default=20)
    parser.add_argument("--beam", type=int, default=16)
    parser.add_argument("-o", "--output", type=Path, help="default: standard output")
    options = parser.parse_args(arguments)
    searched = Search(options.beam, options.refine)
    ways = {
        "decoder": (PLAIN, False),
        "enhancer": (PLAIN, True),
        f"{searched.described()}, enhancer": (searched, True),
    }
    try:
        model = codec.load()
        lines = [f"| signal | {' | '.join(ways)} |", "|---|" + "--:|" * len(ways)]
        for name, wave in signals().items():
            level = 10 ** (options.level / 20) / np.sqrt(np.mean(wave**2))
            audio = (wave * min(level, 1 / np.abs(wave).max())).astype(np.float32)
            cells = []
            for search, enhance in ways.values():
                tokens = model.encode(
                    audio, SAMPLE_RATE, bitrate=1000 * options.kbps, **search._asdict()
                )
                decoded = model.decode(tokens, enhance=enhance)[0]
                louder = 20 * np.log10(np.std(decoded) / np.std(audio))
                distance = mel_distance(audio, decoded, SAMPLE_RATE)
                cells.append(f"{louder:+.1f} dB, {distance:.2f}")
            lines.append(f"| {name} | {' | '.join(cells)} |")
    except CodecError as error:
        sys.exit(f"error: {error}")
    put("\n".join(lines) + "\n", options.output)


if __name__ == "__main__":
    main()
