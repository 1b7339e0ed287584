"""Write signals that recordings have few of: tones, sweeps, harmonics, coloured noise, clicks.

    python -m bench.synthetic_audio OUT [--minutes 20] [--seed 0]

OUT/NNN.flac, a minute each, 24 kHz, one channel: six signals of 10 s, the kinds in turn, at levels
of -50 to -6 dB RMS, less where they would clip. To train with them, put OUT into the folder of
training audio. What a seed gives is the same on every machine but for the rounding of numpy's
functions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import signal

from codec.audio.writer import write_audio

SAMPLE_RATE = 24_000
SECONDS = 10
PER_FILE = 6
LOUDEST = 0.98  # a peak

Floats = npt.NDArray[np.float64]
Random = np.random.Generator


def frequency(random: Random, low: float = 40.0, high: float = 11_000.0) -> float:
    """Draw a frequency in hertz, evenly by octaves."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def noise(random: Random, samples: int) -> Floats:
    """Make noise whose density falls as 1 / f^exponent, -1 (blue) to 2 (brown), half in a band."""
    hertz = np.maximum(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE), 20)
    shape = hertz ** (-random.uniform(-1, 2) / 2)
    if random.random() < 0.5:
        middle, octaves = frequency(random, 100), random.uniform(0.2, 3)
        shape = shape * np.exp(-0.5 * (np.log2(hertz / middle) / octaves) ** 2)
    return np.fft.irfft(np.fft.rfft(random.standard_normal(samples)) * shape, samples)


def tones(random: Random, samples: int) -> Floats:
    """Add 1 to 5 tones, a third of them with a vibrato."""
    time = np.arange(samples) / SAMPLE_RATE
    sound = np.zeros(samples)
    for _ in range(random.integers(1, 6)):
        hertz, wave = frequency(random), np.zeros(samples)
        if random.random() < 1 / 3:
            wave = random.uniform(0.5, 20) * np.sin(2 * np.pi * random.uniform(3, 8) * time)
        phase = 2 * np.pi * (hertz * time + random.random()) + wave
        sound += random.uniform(0.1, 1) * np.sin(phase)
    return sound


def harmonics(random: Random, samples: int) -> Floats:
    """Make a buzz of sawtooth, square or pulses, a voice's pitch and beyond, gliding or not."""
    time = np.arange(samples) / SAMPLE_RATE
    begin = frequency(random, 40, 2_000)
    end = begin * 2 ** random.choice([0.0, 0.0, random.uniform(-1, 1)])
    hertz = begin * (end / begin) ** (time / time[-1])
    phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
    fall = random.uniform(0.5, 2)  # of the amplitude, as 1 / number^fall
    every = int(random.integers(1, 3))  # odd ones only, or all
    sound = np.zeros(samples)
    for number in range(1, int(11_000 / max(begin, end)) + 1, every):
        sound += number**-fall * np.sin(number * phase)
    return sound


def sweep(random: Random, samples: int) -> Floats:
    """Sweep over the band, up or down, in 1 to 10 s."""
    time = np.arange(samples) / SAMPLE_RATE
    seconds = random.uniform(1, SECONDS)
    ends = (frequency(random), frequency(random))
    return np.asarray(signal.chirp(time % seconds, ends[0], seconds, ends[1], "logarithmic"))


def clicks(random: Random, samples: int) -> Floats:
    """Make decaying noise or tones, 1 to 20 a second: drops, knocks, bells."""
    sound = np.zeros(samples)
    spacing = SAMPLE_RATE / random.uniform(1, 20)
    decay = random.uniform(0.0002, 0.2) * SAMPLE_RATE
    length = min(samples, int(6 * decay) + 1)
    hertz, rings = frequency(random, 200), random.random() < 0.5
    for begin in np.arange(0, samples, spacing) + random.uniform(0, spacing):
        place = int(begin)
        size = min(length, samples - place)
        if size <= 0:
            break
        index = np.arange(size)
        body = random.standard_normal(size)
        if rings:
            body = np.sin(2 * np.pi * hertz * index / SAMPLE_RATE)
        sound[place : place + size] += random.uniform(0.3, 1) * body * np.exp(-index / decay)
    return sound


def pulsing_noise(random: Random, samples: int) -> Floats:
    """Let noise swell and fade, .2 to 10 times a second."""
    time = np.arange(samples) / SAMPLE_RATE
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * random.uniform(0.2, 10) * time)
    return noise(random, samples) * swell ** random.uniform(0.5, 3)


KINDS: tuple[Callable[[Random, int], Floats], ...] = (
    noise, tones, harmonics, sweep, clicks, pulsing_noise,
)  # fmt: skip


def make(number: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Make signal `number`, float32 [SECONDS * SAMPLE_RATE]: a function of number and seed."""
    random = np.random.default_rng([seed, number])
    sound = KINDS[number % len(KINDS)](random, SECONDS * SAMPLE_RATE)
    level = 10 ** (random.uniform(-50, -6) / 20) / np.sqrt(np.mean(sound**2))
    return (sound * min(level, LOUDEST / np.abs(sound).max())).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path, metavar="OUT")
    parser.add_argument("--minutes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for file in range(options.minutes):
        numbers = range(PER_FILE * file, PER_FILE * (file + 1))
        audio = np.concatenate([make(number, options.seed) for number in numbers])
        write_audio(options.output / f"{file:03d}.flac", audio[None], SAMPLE_RATE, ".flac")


if __name__ == "__main__":
    main()
