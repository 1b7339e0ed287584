"""Measure encoding and decoding speed of this codec and its peers on the same audio.

    python -m bench.speed [--seconds 8] [--weights FILE] [--lyra DIR]

One thread. A figure is seconds of audio a second of CPU time (that of all threads), the median of
several runs that take turns, so that other load on the machine slows all alike; the ratios are to
EnCodec's. Peers have random weights, which cost as much as trained ones; those whose packages are
not installed are left out. Lyra v2 runs on its published weights in the folder that --lyra names
(its quantizer is run each frame, as it has to be).
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.random_weights import noise, write_weights
from codec.benchmark.machine import machine
from codec.engine import _engine
from codec.engine.native import NativeBackend, isas
from codec.model.config import ModelConfig
from codec.model.location import DEFAULT_WEIGHTS

SLOW_SECONDS = 1  # of audio for what is far below real time
ENCODEC = "EnCodec 24k, encodec"  # what the ratios refer to


@dataclasses.dataclass(frozen=True)
class Entry:
    """One codec: what it is called, and functions of audio float32 [samples] at 24 kHz."""

    name: str
    encode: Callable[[np.ndarray], Any] | None
    decode: Callable[[Any], Any] | None
    seconds: float  # of audio for one run
    codes: Any = None  # to decode, where it cannot encode


def ours(weights: Path, seconds: float) -> Iterator[Entry]:
    for isa in isas():
        engine = NativeBackend(weights, isa)
        count = engine.config.n_codebooks
        fast = isa != "scalar"
        yield Entry(
            f"codec, {isa}",
            lambda audio, engine=engine, count=count: engine.encode(audio, count),
            engine.decode,
            seconds if fast else SLOW_SECONDS,
        )
        if fast:
            yield Entry(
                f"codec, {isa}, {count // 3} of {count} codebooks",
                lambda audio, engine=engine, count=count: engine.encode(audio, count // 3),
                engine.decode,
                seconds,
            )


def in_torch(weights: Path, seconds: float) -> Iterator[Entry]:
    from codec.nn.backend import TorchBackend

    model = TorchBackend(weights)
    count = model.config.n_codebooks
    yield Entry("codec, torch", lambda audio: model.encode(audio, count), model.decode, seconds)


def encodec(seconds: float) -> Iterator[Entry]:
    import torch
    from encodec.model import EncodecModel

    model = EncodecModel.encodec_model_24khz(pretrained=False).eval()
    model.set_target_bandwidth(6.0)
    yield Entry(
        ENCODEC,
        lambda audio: model.encode(torch.from_numpy(audio)[None, None]),
        model.decode,
        seconds,
    )


def snac(seconds: float) -> Iterator[Entry]:
    import torch
    from snac import SNAC

    model = SNAC(
        sampling_rate=24_000, encoder_dim=48, encoder_rates=[2, 4, 8, 8], decoder_dim=1024,
        decoder_rates=[8, 8, 4, 2], attn_window_size=None, vq_strides=[4, 2, 1],
    ).eval()  # fmt: skip
    yield Entry(
        "SNAC 24k, snac",
        lambda audio: model.encode(torch.from_numpy(audio)[None, None]),
        model.decode,
        SLOW_SECONDS,
    )


def transformers(seconds: float) -> Iterator[Entry]:
    import torch
    import transformers as library

    for name, model, length in (
        ("EnCodec 24k", library.EncodecModel(library.EncodecConfig()), seconds),
        ("Mimi", library.MimiModel(library.MimiConfig()), seconds),
        ("DAC 24k", library.DacModel(library.DacConfig(sampling_rate=24_000)), SLOW_SECONDS),
    ):
        model.eval()

        def encode(audio: np.ndarray, model: Any = model) -> Any:
            return model.encode(torch.from_numpy(audio)[None, None])

        def decode(encoded: Any, model: Any = model) -> Any:
            scales = getattr(encoded, "audio_scales", None)
            codes = encoded.audio_codes
            if isinstance(model, library.DacModel):
                return model.decode(audio_codes=codes)
            return model.decode(codes, scales) if scales is not None else model.decode(codes)

        yield Entry(f"{name}, transformers", encode, decode, length)


def vocos(seconds: float) -> Iterator[Entry]:
    """The decoder of Vocos at 24 kHz (hidden size 512, 8 layers) on mel frames of 256 samples."""
    import torch
    from vocos.heads import ISTFTHead
    from vocos.models import VocosBackbone

    backbone = VocosBackbone(100, 512, 1536, 8).eval()
    head = ISTFTHead(512, 1024, 256).eval()
    frames = torch.randn(1, 100, round(seconds * 24_000 / 256))
    yield Entry("Vocos", None, lambda mel: head(backbone(mel)), seconds, frames)


def lyra(folder: Path, seconds: float) -> Iterator[Entry]:
    """Lyra v2 (google/lyra): 16 kHz, 50 frames a second, 30 quantizers for 6 kbit/s."""
    from ai_edge_litert.interpreter import Interpreter

    quantizers = 30

    def signature(name: str, which: str) -> Any:
        interpreter = Interpreter(str(folder / f"{name}.tflite"), num_threads=1)
        return interpreter.get_signature_runner(which)

    analyse = signature("soundstream_encoder", "serving_default")
    quantise = signature("quantizer", "encode")
    restore = signature("quantizer", "decode")
    synthesise = signature("lyragan", "serving_default")

    def encode(audio: np.ndarray) -> list[np.ndarray]:
        # as many frames of 20 ms as the audio has; what is in them does not change the work
        codes = []
        for frame in audio[: len(audio) * 2 // 3 // 320 * 320].reshape(-1, 1, 320):
            latent = analyse(input_audio=frame)["output_0"]
            found = quantise(input_frames=latent, num_quantizers=np.int32(quantizers))
            codes.append(next(v for v in found.values() if v.size > 1))
        return codes

    def decode(codes: list[np.ndarray]) -> None:
        for frame in codes:
            frame = frame.copy()
            frame[quantizers:] = -1
            synthesise(input_audio=restore(encoding_indices=frame)["output_0"])

    yield Entry("Lyra v2, LiteRT", encode, decode, seconds)


def entries(weights: Path, seconds: float, lyra_folder: Path | None = None) -> list[Entry]:
    """All that can run here."""
    found = list(ours(weights, seconds))
    try:
        import torch
    except ModuleNotFoundError:
        return found
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    sources = [lambda: in_torch(weights, seconds)]
    sources += [lambda make=make: make(seconds) for make in (encodec, transformers, snac, vocos)]
    if lyra_folder is not None:
        sources.append(lambda: lyra(lyra_folder, seconds))
    for source in sources:
        try:
            found += source()
        except ModuleNotFoundError as error:
            print(f"left out: no module {error.name}", file=sys.stderr)
    return found


def cpu_seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(found: list[Entry], runs: int) -> list[tuple[str, float, float]]:
    """(name, times real time to encode, to decode) of each; nan where it does not."""
    taken: list[tuple[list[float], list[float]]] = [([], []) for _ in found]
    codes = [entry.codes for entry in found]
    for _ in range(runs):
        for i, entry in enumerate(found):
            audio = noise(round(entry.seconds * 24_000), seed=1)
            if entry.encode:
                if codes[i] is None:
                    codes[i] = entry.encode(audio)  # also warms up
                taken[i][0].append(cpu_seconds(functools.partial(entry.encode, audio)))
            if entry.decode:
                taken[i][1].append(cpu_seconds(functools.partial(entry.decode, codes[i])))

    def speed(entry: Entry, times: list[float]) -> float:
        return entry.seconds / float(np.median(times)) if times else float("nan")

    return [
        (entry.name, speed(entry, encoded), speed(entry, decoded))
        for entry, (encoded, decoded) in zip(found, taken, strict=True)
    ]


def products(runs: int) -> list[tuple[str, float]]:
    """GFLOP/s of matrix products: the libraries' on a square, ours on the network's shapes."""
    rng = np.random.default_rng(0)
    side = rng.standard_normal((768, 768), np.float32)
    jobs: list[tuple[str, float, Callable[[], Any]]] = [
        ("NumPy, 768 x 768 x 768", 2 * 768**3, lambda: side @ side)
    ]
    if "torch" in sys.modules:
        import torch

        tensor = torch.from_numpy(side)
        jobs.append(("torch, 768 x 768 x 768", 2 * 768**3, lambda: tensor @ tensor))
    for rows, depth, columns in ((144, 384, 1152), (144, 1152, 384), (1, 384, 1152)):
        layer = _engine.Dense(
            rng.standard_normal((columns, depth), np.float32), np.zeros(columns, np.float32)
        )
        x = rng.standard_normal((rows, depth), np.float32)
        for isa in isas()[1:]:
            name = f"codec, {isa}, {rows} x {depth} x {columns}"
            jobs.append(
                (name, 2 * rows * depth * columns, lambda x=x, layer=layer, isa=isa: layer(x, isa))
            )
    best = [float("inf")] * len(jobs)
    for _ in range(10 * runs):
        for i, (_, _, work) in enumerate(jobs):
            best[i] = min(best[i], cpu_seconds(work))
    return [(name, flop / b / 1e9) for (name, flop, _), b in zip(jobs, best, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="of audio (default 8)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--weights", type=Path, help="default: those shipped, else random ones")
    parser.add_argument("--lyra", type=Path, metavar="DIR", help="Lyra v2's .tflite files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights = options.weights or DEFAULT_WEIGHTS
        if not weights.is_file():
            weights = write_weights(Path(folder) / "random.safetensors", ModelConfig())
        found = entries(weights, options.seconds, options.lyra)
        rows = measure(found, options.runs)
    encodec_row = next((row for row in rows if row[0] == ENCODEC), ("", *[float("nan")] * 2))
    print(f"x real time, one thread, median of {options.runs} runs. {machine()}\n")
    print("| | encode | / EnCodec | decode | / EnCodec |\n|---|--:|--:|--:|--:|")
    for name, *speeds in rows:
        cells = []
        for speed, reference in zip(speeds, encodec_row[1:], strict=True):
            known = speed == speed
            cells += [f"{speed:.1f}" if known else "", f"{speed / reference:.1f}" if known else ""]  # type: ignore[operator]
        print(" | ".join([f"| {name}", *cells]) + " |")
    print("\n| matrix products | GFLOP/s |\n|---|--:|")
    for name, rate in products(options.runs):
        print(f"| {name} | {rate:.1f} |")


if __name__ == "__main__":
    main()
