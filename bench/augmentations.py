"""Draw what each augmentation does to a clip, and measure the error of the change of speed.

    python -m bench.augmentations CLIP -o OUT

One PNG for each augmentation, the clip above and the result below, at the far ends of what the
settings draw, and speed.png: the error of a tone at a speed of 1 +- 4 %, by its frequency.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from torch import Tensor

from bench.clips import SAMPLE_RATE
from bench.spectrograms import draw_pair
from codec.audio import read_audio, resample
from codec.errors import CodecError
from codec.training import counter
from codec.training.augment.level import add_below, scale
from codec.training.augment.noise import colour
from codec.training.augment.room import convolve, response
from codec.training.augment.settings import Augmentations
from codec.training.augment.speed import change_speed, margin
from codec.training.augment.tilt import tilt

matplotlib.use("Agg")
from matplotlib import pyplot as plt

SETTINGS = Augmentations()
LONGEST_SECONDS = 8


def cases(audio: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Name each case and say how to make it of audio [1, samples]; all give such a tensor."""
    samples = audio.shape[1]
    speed, slope = SETTINGS.speed_percent / 100, SETTINGS.tilt_db
    drawn = counter.normal(counter.words(0, torch.tensor(0), torch.arange(2), 0, 2 * samples))
    white, room = drawn[:1, :samples], drawn[1:]
    seconds, level = SETTINGS.room_seconds[1], SETTINGS.room_db[1]
    length = round(seconds * SAMPLE_RATE)

    def one(value: float) -> Tensor:
        return torch.tensor([value])

    return {
        "gain": lambda: scale(audio, one(10 ** (SETTINGS.gain_db[0] / 20))),
        "sign": lambda: scale(audio, one(-1.0)),
        "slower": lambda: change_speed(audio, one(1 - speed), samples),
        "faster": lambda: change_speed(audio, one(1 + speed), samples),
        "tilt-up": lambda: tilt(audio, one(slope), SAMPLE_RATE),
        "tilt-down": lambda: tilt(audio, one(-slope), SAMPLE_RATE),
        "mix": lambda: add_below(audio, audio.flip(1), one(SETTINGS.mix_db[0])),
        "white-noise": lambda: add_below(audio, white, one(SETTINGS.noise_db[0])),
        "pink-noise": lambda: add_below(
            audio, colour(white, one(1.0), SAMPLE_RATE), one(SETTINGS.noise_db[0])
        ),
        "room": lambda: convolve(
            audio, response(room[:, :length], one(seconds), one(level), SAMPLE_RATE)
        ),
    }


def speed_error(hertz: float, speed: float, samples: int = 8192) -> float:
    """Measure the error of a tone at another speed: its energy in dB relative to the tone's."""

    def tone(frequency: float, count: int) -> Tensor:
        place = torch.arange(count, dtype=torch.float64) - count // 2
        return torch.cos(2 * math.pi * frequency / SAMPLE_RATE * place + 1)[None]

    exact = round(float(np.float32(speed)) * 2**24) / 2**24
    read = tone(hertz, samples + margin(samples, 1.04)).float()
    found = change_speed(read, torch.tensor([speed]), samples).double()
    expected = tone(hertz * exact, samples)
    error = (found - expected).square().sum() / expected.square().sum()
    return 10 * math.log10(max(float(error), 1e-20))


def draw_speed_error(path: Path) -> None:
    """Write a PNG of `speed_error` over frequency."""
    figure, axis = plt.subplots(figsize=(9, 5), layout="constrained")
    hertz = np.arange(250, SAMPLE_RATE / 2, 125)
    for speed in (0.96, 1.01, 1.04):
        errors = [speed_error(float(frequency), speed) for frequency in hertz]
        axis.plot(hertz / 1000, errors, label=f"speed {speed}")
        clean = [frequency for frequency, error in zip(hertz, errors, strict=True) if error > -60]
        print(f"speed {speed}: error below -60 dB up to {min(clean, default=hertz[-1]):.0f} Hz")
    axis.set(xlabel="kHz", ylabel="error re the tone, dB", title="error of the change of speed")
    axis.grid()
    axis.legend()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clip", type=Path, metavar="CLIP", help="any audio file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    options = parser.parse_args(arguments)
    try:
        samples, rate = read_audio(options.clip)
        mono = resample(samples.mean(axis=0), rate, SAMPLE_RATE)
    except CodecError as error:
        sys.exit(f"error: {error}")
    audio = torch.from_numpy(mono[: LONGEST_SECONDS * SAMPLE_RATE])[None]
    options.output.mkdir(parents=True, exist_ok=True)
    for name, make in cases(audio).items():
        path = options.output / f"{name}.png"
        names = ("as it was", name)
        draw_pair(audio[0].numpy(), make()[0].numpy(), options.clip.name, path, names)
    draw_speed_error(options.output / "speed.png")


if __name__ == "__main__":
    main()
