"""Compare log-mel with other libraries, as Markdown tables: time and error.

    python -m bench.mel_table [--seconds 60] [--runs 15] [--audio FILE]

One thread, float32 mono at 16 kHz, rounded to 16 bits (for the int16 entry to be the same audio);
by default noise and tones of changing loudness, 60 dB apart.
All entries of a table take turns in one run, and a time is the median. A turn is a few calls, of
which the first is not timed: it finds the caches as another library left them, which a corpus pays
for once, and which costs the shortest most (of codec's, a quarter). An error is the largest
difference from the same definition in float64 (NumPy): of logarithms as it is, of mel powers
relative to them, where they lie less than 80 dB below the loudest. Libraries that are not
installed are left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from codec.audio import read_audio, resample
from codec.kernels import available, load
from codec.kernels.mel_filters import window
from codec.kernels.mel_spec import tables as tables_of
from codec.mel import WHISPER_80, MelSpec, MelStream, log_mel, log_scale, mel_filters

Array = np.ndarray
Work = Callable[[Array], Any]
RATE = 16_000
CALLS = 4  # a turn


def signal(seconds: float) -> Array:
    """Harmonics over noise, loud and soft by turns."""
    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * 140 * k * t + k) / k**2 for k in range(1, 20))
    loudness = 10 ** (-3 * np.abs(np.sin(2 * np.pi * 3 * t)))
    return (0.3 * loudness * (tones + 0.01 * rng.standard_normal(len(t)))).astype(np.float32)


def reference(audio: Array, spec: MelSpec) -> Array:
    """The definition in `MelSpec`'s docstring, in float64: [n_mels, frames]."""
    mode: Any = "reflect" if spec.padding == "reflect" else "constant"
    samples = np.pad(audio.astype(np.float64), spec.pad, mode)
    frames = np.lib.stride_tricks.sliding_window_view(samples, spec.n_fft)[:: spec.hop_length]
    frames = frames[: spec.n_frames(len(audio))]
    spectrum = np.abs(np.fft.rfft(frames * window(spec.window, spec.under_window, spec.n_fft)))
    mel = mel_filters(spec).astype(np.float64) @ (spectrum**spec.power).T
    if spec.log is None:
        return mel
    log = np.log10(np.maximum(mel, spec.floor))
    if spec.dynamic_range is not None:
        log = np.maximum(log, log.max() - spec.dynamic_range)
    scale, offset = log_scale(spec)
    return log * scale + offset


def ours(spec: MelSpec, audio: Array) -> Iterator[tuple[str, Work]]:
    for backend in available():
        yield f"codec, {backend}", lambda audio, b=backend: log_mel(audio, spec, backend=b)
    if "native" in available():
        pcm = in_16_bits(audio)  # here, so that no conversion is timed
        yield "codec, native, int16", lambda _: log_mel(pcm, spec)


def in_16_bits(audio: Array) -> Array:
    return np.clip(np.rint(audio * 2**15), -(2**15), 2**15 - 1).astype(np.int16)


def whisper(n_mels: int) -> Iterator[tuple[str, Work]]:
    import torch
    from whisper.audio import log_mel_spectrogram

    yield "openai-whisper", lambda audio: log_mel_spectrogram(torch.from_numpy(audio), n_mels)


def transformers(n_mels: int) -> Iterator[tuple[str, Work]]:
    from transformers import WhisperFeatureExtractor

    extract = WhisperFeatureExtractor(feature_size=n_mels)

    def run(audio: Array) -> Any:
        features = extract(
            audio, sampling_rate=RATE, padding="longest", truncation=False, return_tensors="np"
        )
        return features["input_features"][0]

    yield "transformers, WhisperFeatureExtractor", run


def whispers_scaling(mel: Array) -> Array:
    log = np.log10(np.maximum(mel, 1e-10))
    return (np.maximum(log, log.max() - 8) + 4) / 4


def librosa_whisper(n_mels: int) -> Iterator[tuple[str, Work]]:
    from librosa.feature import melspectrogram

    settings: Any = {"n_fft": 400, "hop_length": 160, "n_mels": n_mels, "pad_mode": "reflect"}

    def run(audio: Array) -> Array:
        return whispers_scaling(melspectrogram(y=audio, sr=RATE, **settings)[:, :-1])

    yield "librosa, with Whisper's settings", run


def torchaudio_whisper(n_mels: int) -> Iterator[tuple[str, Work]]:
    import torch
    from torchaudio.transforms import MelSpectrogram

    settings: Any = {"norm": "slaney", "mel_scale": "slaney", "n_mels": n_mels}
    mel = MelSpectrogram(RATE, 400, hop_length=160, **settings)

    def run(audio: Array) -> Any:
        log = mel(torch.from_numpy(audio))[:, :-1].clamp(min=1e-10).log10()
        return (torch.maximum(log, log.max() - 8) + 4) / 4

    yield "torchaudio, with Whisper's settings", run


def torchaudio(settings: dict[str, Any]) -> Iterator[tuple[str, Work]]:
    import torch
    from torchaudio.transforms import MelSpectrogram

    mel = MelSpectrogram(RATE, **settings)
    yield "torchaudio, MelSpectrogram", lambda audio: mel(torch.from_numpy(audio))


def librosa(settings: dict[str, Any]) -> Iterator[tuple[str, Work]]:
    from librosa.feature import melspectrogram

    yield "librosa, melspectrogram", lambda audio: melspectrogram(y=audio, sr=RATE, **settings)


def kaldi(n_mels: int) -> Iterator[tuple[str, Work]]:
    import kaldi_native_fbank

    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = RATE
    options.frame_opts.dither = 0
    options.mel_opts.num_bins = n_mels

    def run(audio: Array) -> int:
        fbank = kaldi_native_fbank.OnlineFbank(options)
        fbank.accept_waveform(RATE, audio)
        fbank.input_finished()
        return int(fbank.num_frames_ready)

    yield "kaldi-native-fbank (25 ms frames; a definition of its own)", run


def streamed(spec: MelSpec) -> Iterator[tuple[str, Work]]:
    running = dataclasses.replace(spec, maximum="running")
    for milliseconds in (20, 200):
        size = RATE * milliseconds // 1000

        def run(audio: Array, size: int = size) -> int:
            stream = MelStream(running)
            for i in range(0, len(audio), size):
                stream.push(audio[i : i + size])
            return int(stream.flush().size)

        yield f"codec, native, streamed {milliseconds} ms at a time (running maximum)", run


def gather(*sources: Iterator[tuple[str, Work]]) -> dict[str, Work]:
    """Those of the entries whose libraries are here."""
    found: dict[str, Any] = {}
    for source in sources:
        try:
            found.update(source)
        except ModuleNotFoundError as error:
            print(f"left out: no module {error.name}", file=sys.stderr)
    return found


def measure(entries: dict[str, Work], audio: Array, runs: int) -> dict[str, float]:
    """Median seconds of each, all in turn."""
    times: dict[str, list[float]] = {name: [] for name in entries}
    for _ in range(runs):
        for name, work in entries.items():
            for call in range(CALLS):
                start = time.perf_counter()
                work(audio)
                if call:  # the first warms up
                    times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def error(mel: Any, expected: Array, spec: MelSpec) -> str:
    mel = np.asarray(mel)
    if mel.shape != expected.shape:
        return ""
    difference = np.abs(mel - expected)
    if spec.log is None:
        difference = (difference / expected.clip(min=1e-300))[expected > 1e-8 * expected.max()]
    return f"{difference.max():.1e}"


def table(title: str, spec: MelSpec, entries: dict[str, Work], audio: Array, runs: int) -> None:
    seconds = len(audio) / RATE
    title += f", {seconds:g} s of audio"
    expected = reference(audio, spec)
    times = measure(entries, audio, runs)
    own = times.get("codec, native", min(times.values()))
    print(f"### {title}\n\n| | ms | x real time | of codec's time | error |\n|---|--:|--:|--:|--:|")
    for name, taken in sorted(times.items(), key=lambda item: item[1]):
        cells = (
            f"{1e3 * taken:.2f}",
            f"{seconds / taken:,.0f}",
            f"{taken / own:.1f}",
            error(entries[name](audio), expected, spec),
        )
        print(f"| {name} | {' | '.join(cells)} |")
    print()


def operations(spec: MelSpec) -> dict[str, int]:
    """Products, sums and fused ones of a frame, an operation a lane, as in csrc/mel/rfft.h."""
    tables = tables_of(spec)
    fft = tables.fft
    h, half = fft.n // fft.split, fft.split // 2
    rows = {1: 1, 2: 2, 4: 6, 8: 12 + 12, 16: 24 + 8 + 4 + 6 + 26}[fft.split] * h
    turns = 4 * (fft.turns.size // 2)
    butterflies, length = 0, h
    for radix in fft.radices.tolist():
        sums = {2: 4, 3: 14, 4: 16, 5: 32}[radix]
        butterflies += h // radix * sums + (h // length) * (length // radix - 1) * (radix - 1) * 4
        length //= radix
    columns = max(half, 1) * butterflies + (h // 2 + 1) * 18
    powers = 2 * fft.bins.size if half > 1 else 0
    levels = spec.n_mels * (19 + 2 if spec.log else 0)
    found = {
        "real transforms, windowed": rows + turns,
        "complex transforms": columns,
        "powers": powers,
        "bands": int(tables.band_size.sum()),
        "logarithms and scaling": levels,
    }
    return found


def limits(spec: MelSpec, audio: Array, runs: int) -> None:
    """How far the native kernel is from what this core can do."""
    side = np.random.default_rng(0).standard_normal((768, 768)).astype(np.float32)
    jobs: dict[str, Work] = {
        "mel": lambda audio: log_mel(audio, spec),
        "product": lambda _: side @ side,
        "copy": lambda audio: audio.copy(),
    }
    times = measure(jobs, audio, runs)
    counts = operations(spec)
    frames = spec.n_frames(len(audio))
    total = sum(counts.values())
    rate, best = total * frames / times["mel"] / 1e9, 768**3 / times["product"] / 1e9
    moved = 4 * (len(audio) + 3 * spec.n_mels * frames)
    copied = 2 * audio.nbytes / times["copy"] / 1e9
    print("### Distance from the machine's limit\n")
    print(
        f"A frame of `whisper-80` takes {total:,} operations (a product, a sum or a fused "
        f"multiply-add each): {', '.join(f'{n:,} {name}' for name, n in counts.items())}. "
        f"At {1e9 * times['mel'] / frames:.0f} ns a frame that is {rate:.1f} G operations/s; "
        f"NumPy's matrix product (768 x 768), all fused, reaches {best:.1f} G/s beside it: "
        f"**{100 * rate / best:.0f} %** of that. The rest is not arithmetic: samples are "
        "transposed (a tenth of the time) and checked for NaN (a twentieth), and short sums over "
        "the few bins of a band leave the units waiting (an eighth is spent on them). "
        f"Memory: {moved / 1e6:.1f} MB are moved (audio read, mel "
        "written, read and written again for the clip's maximum), "
        f"{moved / times['mel'] / 1e9:.1f} GB/s; a copy of the audio runs at {copied:.1f} GB/s.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of audio (default 60)")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--audio", type=Path, help="a recording in place of the synthetic signal")
    options = parser.parse_args()
    if "torch" in available():
        load("torch").set_num_threads(1)
        load("torch").set_grad_enabled(False)
    audio = signal(options.seconds)
    if options.audio:
        channels, rate = read_audio(options.audio)
        recorded = resample(channels.mean(axis=0), rate, RATE)
        audio = np.resize(recorded, len(audio))
    audio = in_16_bits(audio) / np.float32(2**15)
    for n_mels in (80, 128):
        spec = dataclasses.replace(WHISPER_80, n_mels=n_mels)
        entries = gather(
            ours(spec, audio),
            whisper(n_mels),
            transformers(n_mels),
            librosa_whisper(n_mels),
            torchaudio_whisper(n_mels),
            *([kaldi(n_mels), streamed(spec)] if n_mels == 80 else []),  # kaldi has 97 at most
        )
        table(f"Whisper's log-mel, {n_mels} bins", spec, entries, audio, options.runs)
    wide: dict[str, Any] = {"n_fft": 1024, "hop_length": 256, "n_mels": 100}
    spec = MelSpec.torchaudio(RATE, **wide)
    entries = gather(ours(spec, audio), torchaudio(wide))
    title = "torchaudio's mel powers, n_fft 1024, hop 256, 100 bins"
    table(title, spec, entries, audio, options.runs)
    spec = MelSpec.torchaudio(RATE)
    title = "torchaudio's mel powers, its defaults (n_fft 400, hop 200, 128 bins)"
    table(title, spec, gather(ours(spec, audio), torchaudio({})), audio, options.runs)
    spec = MelSpec.librosa(RATE)
    title = "librosa's mel powers, its defaults (n_fft 2048, hop 512, 128 bins)"
    table(title, spec, gather(ours(spec, audio), librosa({})), audio, options.runs)
    if "native" in available():
        limits(WHISPER_80, audio, 3 * options.runs)


if __name__ == "__main__":
    main()
