"""Our model beside EnCodec, DAC and Mimi on one device: times real time, and tokens in a batch.

    python -m bench.gpu.peers [--device cuda] [--small]

The peers have the architecture of their published checkpoints and random weights: speed does not
depend on the values. They run as transformers runs them, in float32 and in bfloat16, with PyTorch's
own choice of kernels (no TF32 in products, TF32 in convolutions). Items are tensors of the device
before and after, for all alike; ours are torch.ops.codec.encode and decode.

The last column is the share of the codes of an item that are others in a batch than alone; "" for
batches of 1. Random codebooks make near ties more frequent than trained ones do, so it says that
tokens depend on the batch, not how often those of a trained model do.

--small takes small models and short items, for a CPU: the times then mean nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from bench.random_weights import fill_codebooks
from codec.engine import torch_ops
from codec.errors import BackendError
from codec.model.location import DEFAULT_WEIGHTS
from codec.model.weights_file import WeightsFile

Tensor = torch.Tensor
Work = Callable[[Tensor], Tensor]
RATE = 24_000


@dataclasses.dataclass(frozen=True)
class Peer:
    """An architecture of transformers, and how many of its codebooks are used."""

    name: str
    model: str
    config: str
    full: dict[str, Any]
    small: dict[str, Any]
    codebooks: int
    kbits: float  # a second, with these codebooks


PEERS = (
    Peer(
        "EnCodec", "EncodecModel", "EncodecConfig", {},  # facebook/encodec_24khz
        {"num_filters": 4, "hidden_size": 16, "codebook_dim": 16, "num_lstm_layers": 1},
        8, 6.0,
    ),
    Peer(
        "DAC", "DacModel", "DacConfig",  # descript/dac_24khz
        {"sampling_rate": RATE, "downsampling_ratios": [2, 4, 5, 8], "n_codebooks": 32,
         "upsampling_ratios": [8, 5, 4, 2]},
        {"sampling_rate": RATE, "encoder_hidden_size": 8, "decoder_hidden_size": 64,
         "hidden_size": 64},
        8, 6.0,
    ),
    Peer(
        "Mimi", "MimiModel", "MimiConfig", {},  # kyutai/mimi
        {"num_filters": 4, "hidden_size": 32, "codebook_dim": 16, "num_hidden_layers": 1,
         "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16,
         "intermediate_size": 32, "vector_quantization_hidden_dimension": 16,
         "upsample_groups": 32},
        8, 1.1,
    ),
)  # fmt: skip


@dataclasses.dataclass
class Row:
    """What was measured of a codec; times real time, None where it failed."""

    name: str
    dtype: str
    batch: int
    encode: float | None
    decode: float | None
    changed: float | None  # share of the codes of an item, alone and in this batch


def works_of(peer: Peer, module: Any) -> tuple[Work, Work]:
    """Encode [B, samples] to codes [B, codebooks, frames], and decode these to samples."""
    count = peer.codebooks
    if peer.name == "EnCodec":
        bits = module.config.codebook_size.bit_length() - 1
        kbits = (count + 0.5) * module.config.frame_rate * bits / 1000

        def encode(audio: Tensor) -> Tensor:
            codes: Tensor = module.quantizer.encode(module.encoder(audio[:, None]), kbits)
            return codes[:count].transpose(0, 1)

        return encode, lambda codes: module.decode(codes[None], [None]).audio_values
    if peer.name == "DAC":
        return (
            lambda audio: module.encode(audio[:, None], n_quantizers=count).audio_codes,
            lambda codes: module.decode(audio_codes=codes).audio_values,
        )
    return (
        lambda audio: module.encode(audio[:, None], num_quantizers=count).audio_codes,
        lambda codes: module.decode(codes).audio_values,
    )


def build(peer: Peer, small: bool) -> Any:
    """Make the model of transformers, with random weights."""
    import transformers

    fields = peer.small if small else peer.full
    torch.manual_seed(0)
    config = getattr(transformers, peer.config)(**fields)
    module = getattr(transformers, peer.model)(config).eval()
    fill_codebooks(module)
    return module


def seconds_of(work: Callable[[], object], device: torch.device, at_most: float) -> float:
    """Median of 1 to 9 calls that take `at_most` seconds together; the first one is not timed."""
    wait: Callable[[], object] = (
        (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)
    )
    found: list[float] = []
    work()
    wait()
    while not found or (len(found) < 9 and sum(found) < at_most):
        begun = time.perf_counter()
        work()
        wait()
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def rows(
    name: str, dtype: torch.dtype, encode: Work, decode: Work, items: dict[int, Tensor], most: float
) -> Iterator[Row]:
    """Measure batches of `items`, the size of each to its audio [size, samples]."""
    alone: Tensor | None = None
    for size, audio in items.items():
        given = audio.to(dtype)
        row = Row(name, str(dtype).removeprefix("torch."), size, None, None, None)
        try:
            codes = encode(given)
            if size == 1:
                alone = codes[0]
            elif alone is not None:
                row.changed = float((codes[0] != alone).float().mean())
            for field, work in (
                ("encode", lambda x=given: encode(x)),
                ("decode", lambda c=codes: decode(c)),
            ):
                seconds = seconds_of(work, audio.device, most)
                setattr(row, field, audio.numel() / RATE / seconds)
        except torch.OutOfMemoryError:
            print(f"{name}, {row.dtype}, {size}: no memory", flush=True)
            torch.cuda.empty_cache()
        except RuntimeError as error:
            print(f"{name}, {row.dtype}, {size}: {' '.join(str(error).split())[:300]}", flush=True)
        yield row


def all_rows(device: torch.device, small: bool, most: float) -> Iterator[Row]:
    """Measure all of them. Items are the same noise for all codecs."""
    sizes, seconds = ((1, 2), 0.5) if small else ((1, 8, 64), 10.0)
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(max(sizes), int(seconds * RATE), generator=generator)
    items = {size: noise[:size].to(device) for size in sizes}
    try:
        # Each batch starts with the item of the batch of 1.
        yield from rows("ours", torch.float32, torch_ops.encode, torch_ops.decode, items, most)
    except BackendError as error:
        print(f"ours is not measured: {error}", flush=True)
    for peer in PEERS:
        for dtype in (torch.float32, torch.bfloat16):
            # A new one each: Mimi keeps its codebooks in the type of its first call.
            encode, decode = works_of(peer, build(peer, small).to(device, dtype))
            yield from rows(peer.name, dtype, encode, decode, items, most)


def line(row: Row) -> str:
    speeds = [
        "failed" if speed is None else f"{speed:,.3g}" if speed < 100 else f"{speed:,.0f}"
        for speed in (row.encode, row.decode)
    ]
    changed = "" if row.changed is None else f"{row.changed:.2%}"
    return f"| {row.name} | {row.dtype} | {row.batch} | {' | '.join(speeds)} | {changed} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="small models and items, for a CPU")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each number (default 1)")
    given = parser.parse_args()
    device = torch.device(given.device)
    try:
        import transformers
    except ImportError:
        print("not run: transformers is not installed")
        return 0
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"
    print(f"{name}, PyTorch {torch.__version__}, transformers {transformers.__version__}")
    config = WeightsFile(DEFAULT_WEIGHTS).config
    kbits = config.n_codebooks * config.frame_rate * config.bits_per_code / 1000
    rates = {"ours": kbits} | {peer.name: peer.kbits for peer in PEERS}
    print("kbit/s: " + ", ".join(f"{name} {rate:g}" for name, rate in rates.items()))
    print("\nTimes real time\n\n| codec | dtype | batch | encode | decode | codes that change |")
    print("|---|---|--:|--:|--:|--:|")
    with torch.inference_mode():
        for row in all_rows(device, given.small, 0.0 if given.small else given.seconds):
            print(line(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
