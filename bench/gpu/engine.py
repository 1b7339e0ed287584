"""The engine on a GPU: are the bits the CPU's, and how fast.

    python -m bench.gpu.engine AUDIO_FOLDER... [--device cuda] [--files 300] [--small]

1. Exactness: the recordings, and lengths from 1 sample on, in batches of 1 to 512 items in
   random order, twice, after torch has worked on the same GPU: codes and samples against the
   native engine's.
2. Throughput of encode and decode by batch, in times real time, with the copies to and from the
   GPU.
3. Times of the stages, and the share of the FP32 peak that the matrix products and the search
   reach: 128 FMA units a multiprocessor (sm_90), at the highest clock.
4. An hour of audio: as one item, and as items of 10 s.

Ends with status 1 if a bit differs. CODEC_CUDA_LIBRARY may name the tests' stand-in: then --small
rehearses all of it on a CPU, and the times mean nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from codec.audio.resample import resample_blocks
from codec.engine import cuda_library
from codec.engine.cuda import CudaBackend, device_index
from codec.engine.cuda_library import Times
from codec.engine.native import NativeBackend
from codec.model.config import ModelConfig
from codec.model.location import DEFAULT_WEIGHTS
from codec.support.workers import Workers, usable_cores

Audio = np.ndarray[Any, np.dtype[np.float32]]
SHAPES = (1, 2, 3, 7, 16, 64, 200, 512)
EDGES = (1, 2, 479, 480, 959, 960, 961, 24_000 * 3 + 17)
FMA_UNITS = 128  # of a multiprocessor of sm_90; sm_80 has 64


def recordings(folders: list[Path], rate: int, most: float, count: int) -> Iterator[Audio]:
    """Channels of the recordings below, at `rate`, the first `most` seconds of each: of all of
    them, or of about `count` that lie evenly among them."""
    paths = [
        path
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".flac", ".wav", ".opus", ".ogg", ".mp3")
    ]
    for path in paths[:: max(1, -(-len(paths) // count))]:
        audio, own = soundfile.read(path, dtype="float32", always_2d=True)
        blocks = resample_blocks([np.ascontiguousarray(audio.T)], own, rate)
        for channel in np.concatenate(list(blocks), axis=1):
            yield np.ascontiguousarray(channel[: int(most * rate)])


def torch_works(device: str) -> str:
    """Let torch use the GPU and change what it can of its modes; say what was done."""
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    if not torch.cuda.is_available():
        return "torch has no GPU"
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.set_flush_denormal(True)
    x = torch.randn(2048, 2048, device=device)
    for _ in range(10):
        x = (x @ x).tanh()
    torch.cuda.synchronize()
    return f"torch {torch.__version__} ran products in TF32 on {device} before"


def shuffled(count: int, shape: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """Numbers below `count`, in random order, `shape` at a time; each comes at least once."""
    order = list(rng.permutation(count))
    while len(order) < shape:
        order += list(rng.permutation(count))
    for first in range(0, len(order), shape):
        yield [int(i) for i in order[first : first + shape]]


def differing(
    gpu: CudaBackend, native: NativeBackend, audios: list[Audio], shapes: tuple[int, ...]
) -> tuple[int, int]:
    """Codes and samples that are not the CPU's, over all shapes, twice."""
    levels = native.config.n_codebooks
    with Workers(usable_cores()) as workers:
        codes = list(workers.run((lambda a=audio: native.encode(a, levels)) for audio in audios))
        samples = list(workers.run((lambda c=each: native.decode(c)) for each in codes))
    wrong_codes = wrong_samples = 0
    for run in range(2):
        rng = np.random.default_rng(run)
        for shape in shapes:
            for chosen in shuffled(len(audios), shape, rng):
                found = gpu.encode_many([audios[i] for i in chosen], levels)
                pairs = zip(found, chosen, strict=True)
                wrong_codes += sum(int((one != codes[i]).sum()) for one, i in pairs)
                decoded = gpu.decode_many([codes[i] for i in chosen])
                for one, i in zip(decoded, chosen, strict=True):
                    wrong = one.view(np.uint32) != samples[i].view(np.uint32)
                    wrong_samples += int(wrong.sum())
            print(f"  run {run + 1}, batches of {shape}: {wrong_codes} codes and", end=" ")
            print(f"{wrong_samples} samples differ so far", flush=True)
    return wrong_codes, wrong_samples


def seconds_of(work: Callable[[], object], times: int) -> float:
    """Median of `times` calls; the first one is not timed."""
    work()
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def operations(config: ModelConfig) -> tuple[dict[str, float], dict[str, float]]:
    """FMAs of a token frame by stage, of the encoder and of the decoder."""
    bins, short = config.long_fft // 2 + 1, config.short_fft // 2 + 1
    per_frame = config.backbone_hop // (config.short_fft // 2)
    size = bins + per_frame * short + 2 * config.phase_bins + config.long_fft * config.waveform
    rows = config.hop_length // (config.backbone_hop * config.encoder_stack)
    enc, dec = config.encoder_dim, config.decoder_dim
    block = rows * config.encoder_blocks * enc * config.encoder_hidden
    encoder: dict[str, float] = {
        "embed": rows * config.encoder_stack * size * enc,
        "expand": block,
        "reduce": block,
        "heads": rows * enc * config.latent_dim,
        "back": config.n_codebooks * config.codebook_size * config.latent_dim,
    }
    rows = config.hop_length // config.backbone_hop
    block = rows * config.decoder_blocks * dec * config.decoder_hidden
    spectra = config.backbone_hop // config.synthesis_hop
    head = spectra * (config.gain_bands + 2 * (config.synthesis_fft // 2 + 1))
    decoder: dict[str, float] = {
        "embed": rows * config.latent_dim * dec,
        "expand": block,
        "reduce": block,
        "heads": rows * dec * head,
    }
    return encoder, decoder


def stages(title: str, times: Times, fmas: dict[str, float], frames: int, peak: float) -> None:
    total = sum(times.ms)
    print(f"\n{title}: {total:.2f} ms for {frames} frames\n")
    print("| stage | ms | share | of the FP32 peak |\n|---|--:|--:|--:|")
    for stage, ms in times.by_stage().items():
        share = f"{fmas[stage] * frames / (ms / 1000) / peak:.0%}" if stage in fmas and ms else ""
        print(f"| {stage} | {ms:.3f} | {ms / total:.0%} | {share} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--files", type=int, default=300, help="recordings at most (default 300)")
    parser.add_argument("--small", action="store_true", help="sizes for the stand-in on a CPU")
    given = parser.parse_args()
    small = given.small
    native = NativeBackend(DEFAULT_WEIGHTS)
    gpu = CudaBackend(DEFAULT_WEIGHTS, given.device, *((40,) if small else ()))
    config = native.config
    rate, levels = config.sample_rate, config.n_codebooks
    units, kilohertz = cuda_library.speed(device_index(given.device))
    peak = units * FMA_UNITS * kilohertz * 1000.0
    print(f"{units} multiprocessors, {kilohertz / 1e6:.2f} GHz: {peak / 1e12:.1f} T FMA/s")
    print("nothing of torch" if small else torch_works(given.device), flush=True)

    rng = np.random.default_rng(0)
    edges = EDGES[:-1] if small else EDGES
    audios = [(0.1 * rng.standard_normal(n)).astype(np.float32) for n in edges]
    audios += list(
        recordings(given.folders, rate, 0.3 if small else 60.0, 2 if small else given.files)
    )
    print(f"\nExactness: {len(audios)} items, {sum(map(len, audios)) / rate:.0f} s", flush=True)
    wrong = differing(gpu, native, audios, (1, 3) if small else SHAPES)

    clip = 0.1 if small else 10.0
    print(f"\nTimes real time, items of {clip:g} s\n\n| items | encode | decode |\n|--:|--:|--:|")
    for count in (1, 2) if small else (1, 8, 64, 512):
        items = [
            (0.1 * rng.standard_normal(int(clip * rate))).astype(np.float32) for _ in range(count)
        ]
        codes = gpu.encode_many(items, levels)
        calls = (lambda i=items: gpu.encode_many(i, levels), lambda c=codes: gpu.decode_many(c))
        speeds = [count * clip / seconds_of(call, 1 if small else 9) for call in calls]
        print(f"| {count} | {speeds[0]:,.0f} | {speeds[1]:,.0f} |", flush=True)

    frames = sum(each.shape[1] for each in codes)
    encoder, decoder = operations(config)
    encoding, decoding = Times(), Times()
    gpu.encode_many(items, levels, encoding)
    gpu.decode_many(codes, decoding)
    stages("Encode", encoding, encoder, frames, peak)
    stages("Decode", decoding, decoder, frames, peak)

    hour = (0.1 * rng.standard_normal(int((1.0 if small else 3600.0) * rate))).astype(np.float32)
    step = int(clip * rate)
    parts = [hour[i : i + step] for i in range(0, len(hour), step)]
    whole = gpu.encode_many([hour], levels)
    for title, call in (
        ("encoding it as one item", lambda: gpu.encode_many([hour], levels)),
        ("encoding it as items", lambda: gpu.encode_many(parts, levels)),
        ("decoding it as one item", lambda: gpu.decode_many(whole)),
    ):
        taken = seconds_of(call, 1 if small else 5)
        length = len(hour) / rate
        print(f"\n{length:.0f} s of audio, {title}: {taken:.3f} s, {length / taken:,.0f} x", end="")
    held = (gpu.encoder.bytes + gpu.decoder.bytes) / 1e9
    print(f"\n\n{held:.2f} GB of the GPU's memory held")
    print(f"{wrong[0]} codes and {wrong[1]} samples differ from the CPU's")
    return 1 if any(wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
