"""Time and error of the mel and RVQ operators on a device, against libraries on the same device.

    python -m bench.gpu.kernels [--device cuda] [--small]

Times are medians of torch.utils.benchmark, which waits for the device. The error of mel levels is
the largest difference from the definition in float64; that of codes, how much longer than with the
codes of the definition in float64 the mean residual is. "bits" says whether the result is, bit for
bit, that of codec's kernels on the CPU. Libraries that are not installed are left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.benchmark import Timer

from bench.mel_table import RATE, in_16_bits
from bench.mel_table import reference as mel_reference
from bench.mel_table import signal as mel_signal
from bench.rvq_table import CODEWORDS, residual
from bench.rvq_table import case as rvq_case
from bench.rvq_table import reference as rvq_reference
from codec import rvq
from codec.kernels import cuda_ops, torch_ops
from codec.mel import WHISPER_80, MelSpec, log_mel

Work = Callable[[], torch.Tensor]


@dataclasses.dataclass
class Row:
    what: str
    milliseconds: float
    rate: float  # times real time, or vectors a second
    error: float
    bits: str = ""


def median(work: Work, seconds: float) -> float:
    """Seconds of a call; the first one is not timed."""
    work()
    timer = Timer("work()", globals={"work": work}, num_threads=torch.get_num_threads())
    return float(timer.blocked_autorange(min_run_time=seconds).median)


def mel_entries(audio: torch.Tensor, spec: MelSpec) -> Iterator[tuple[str, Work]]:
    """Ways to `spec` of audio [B, samples], each giving [B, n_mels, frames]."""
    if not audio.is_cuda or cuda_ops.is_built():
        yield "codec", lambda: cuda_ops.log_mel(audio, spec)
    # asking for a gradient takes the operators of torch
    asked = audio.clone().requires_grad_()
    yield "codec, torch operators", lambda: torch_ops.log_mel(asked, spec).detach()
    try:
        from torchaudio.transforms import MelSpectrogram
    except ImportError:
        print("left out: torchaudio", file=sys.stderr)
        return
    settings: Any = {"norm": "slaney", "mel_scale": "slaney", "n_mels": spec.n_mels}
    mel = MelSpectrogram(RATE, spec.n_fft, hop_length=spec.hop_length, **settings).to(audio.device)

    def run() -> torch.Tensor:
        log = mel(audio)[..., :-1].clamp(min=1e-10).log10()
        return (torch.maximum(log, log.amax((1, 2), keepdim=True) - 8) + 4) / 4

    yield "torchaudio, with Whisper's settings", run


def mel_rows(device: torch.device, clips: int, clip: float, seconds: float) -> Iterator[Row]:
    one = in_16_bits(mel_signal(clip)) / np.float32(2**15)
    gains = np.linspace(0.5, 1, clips, dtype=np.float32)[:, None]
    audio = one * gains
    expected = np.stack([mel_reference(row, WHISPER_80) for row in audio[:2]])
    exact = log_mel(audio[:2], WHISPER_80)
    given = torch.from_numpy(audio).to(device)
    for name, work in mel_entries(given, WHISPER_80):
        found = work()[:2].cpu().numpy()
        taken = median(work, seconds)
        error = float(np.abs(found - expected).max())
        yield Row(name, 1e3 * taken, clips * clip / taken, error, equal(found, exact))


def rvq_entries(latents: torch.Tensor, codebooks: torch.Tensor) -> Iterator[tuple[str, Work]]:
    """Ways to the codes [Q, N] of latents [N, D]."""
    if not latents.is_cuda or cuda_ops.is_built():
        yield "codec", lambda: torch.ops.codec.rvq_encode(latents, codebooks)

    def plain() -> torch.Tensor:
        rest, codes = latents, []
        for words in codebooks:
            half = 0.5 * words.square().sum(1)
            codes.append(torch.addmm(half, rest, words.T, alpha=-1).argmin(1))
            rest = rest - words[codes[-1]]
        return torch.stack(codes)

    yield "torch operators", plain
    try:
        from vector_quantize_pytorch import ResidualVQ
    except ImportError as error:
        print(f"left out: vector-quantize-pytorch ({error})", file=sys.stderr)
        return
    levels, size, dim = codebooks.shape
    model = ResidualVQ(dim=dim, num_quantizers=levels, codebook_size=size).eval()
    model = model.to(latents.device)
    for layer, words in zip(model.layers, codebooks, strict=True):
        layer._codebook.embed.copy_(words[None])
    yield "vector-quantize-pytorch", lambda: model(latents[None])[1][0].T


def rvq_rows(
    device: torch.device, levels: int, dim: int, frames: int, seconds: float
) -> Iterator[Row]:
    latents, codebooks = rvq_case(levels, dim, frames)
    few = latents[: min(frames, 4000)]
    best = residual(few, codebooks, rvq_reference(few, codebooks))
    exact = rvq.encode(few, codebooks)
    given = [torch.from_numpy(array).to(device) for array in (latents, codebooks)]
    for name, work in rvq_entries(*given):
        codes = work()[:, : len(few)].cpu().numpy()
        taken = median(work, seconds)
        error = residual(few, codebooks, codes) / best - 1
        yield Row(name, 1e3 * taken, frames / taken, error, equal(codes, exact))


def equal(found: np.ndarray, exact: np.ndarray) -> str:
    """Whether all bits are the same, or the share of the values that are."""
    both = (np.ascontiguousarray(x, exact.dtype) for x in (found, exact))
    same = np.equal(*(x.view(f"u{x.itemsize}") for x in both))
    return "equal" if same.all() else f"{100 * same.mean():.3f} % equal"


def show(title: str, rate: str, rows: list[Row]) -> None:
    print(f"\n### {title}\n\n| | ms | {rate} | error | bits |\n|---|--:|--:|--:|---|")
    for row in sorted(rows, key=lambda row: row.milliseconds):
        print(
            f"| {row.what} | {row.milliseconds:.3f} | {row.rate:,.0f} | {row.error:.1e} | ", end=""
        )
        print(f"{row.bits} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes for a CPU")
    given = parser.parse_args()
    device = torch.device(given.device)
    seconds = 0.05 if given.small else 0.5
    own: list[Row] = []
    clips, clip = (2, 2.0) if given.small else (64, 30.0)
    with torch.no_grad():
        title = f"Whisper's log-mel of {clips} clips of {clip:g} s, on {given.device}"
        with torch.enable_grad():
            rows = list(mel_rows(device, clips, clip, seconds))
        show(title, "times real time", rows)
        own += rows[:1]
        for levels, dim, frames in (
            [(4, 16, 500)]
            if given.small
            else [(8, 8, 100_000), (24, 64, 100_000), (32, 128, 100_000)]
        ):
            rows = list(rvq_rows(device, levels, dim, frames, seconds))
            title = f"RVQ search, {levels} codebooks of {CODEWORDS} x {dim}, {frames:,} vectors"
            show(title, "vectors a second", rows)
            own += rows[:1]
    print("\n" + "; ".join(f"{row.what}: {row.bits}" for row in own))


if __name__ == "__main__":
    main()
