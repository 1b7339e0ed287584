"""Compare RVQ search with other libraries, as a Markdown table: time, and agreement of codes.

    python -m bench.rvq_table [--levels 8 32] [--dims 8 64 128] [--frames 1 75 7500] [--seconds 1]

One thread, float32, codebooks of 1024 made ready before (`codec.rvq.Codebooks`), random latents
and codebooks that shrink from level to level like the residuals do. All are timed in turn, in one
run; a time is the median of what fits into `--seconds`. "equal" is the share of codes that are
those of the definition in float64, "error" how much longer than with those codes the mean residual
of all levels is: 0 where a library picks another of two all but equal codewords. faiss searches
level by level with IndexFlatL2, the residuals computed in NumPy.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from codec import rvq
from codec.kernels import load

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.integer[Any]]
CODEWORDS = 1024


def ours(codebooks: Floats) -> dict[str, Callable[[Floats], Codes]]:
    ready = rvq.Codebooks(codebooks)
    found: dict[str, Callable[[Floats], Codes]] = {"codec": lambda x: rvq.encode(x, ready)}
    floats = rvq.Codebooks(codebooks)
    floats._plan = load("codec.kernels._native").RvqPlan(codebooks, screen=False)
    found["codec, floats only"] = lambda x: rvq.encode(x, floats)
    found["codec, codebooks as an array"] = lambda x: rvq.encode(x, codebooks)
    return found


def encodec(codebooks: Floats) -> dict[str, Callable[[Floats], Codes]]:
    import torch
    from encodec.quantization.core_vq import ResidualVectorQuantization

    levels, size, dim = codebooks.shape
    model = ResidualVectorQuantization(
        num_quantizers=levels, dim=dim, codebook_size=size, kmeans_init=False
    ).eval()
    for layer, words in zip(model.layers, codebooks, strict=True):
        layer._codebook.embed.copy_(torch.from_numpy(words))  # type: ignore[operator,union-attr]
    return {"encodec": lambda x: model.encode(torch.from_numpy(x).T[None])[:, 0].numpy()}


def vector_quantize(codebooks: Floats) -> dict[str, Callable[[Floats], Codes]]:
    import torch
    from vector_quantize_pytorch import ResidualVQ

    levels, size, dim = codebooks.shape
    model = ResidualVQ(dim=dim, num_quantizers=levels, codebook_size=size).eval()
    for layer, words in zip(model.layers, codebooks, strict=True):
        layer._codebook.embed.copy_(torch.from_numpy(words)[None])
    return {"vector-quantize-pytorch": lambda x: model(torch.from_numpy(x)[None])[1][0].T.numpy()}


def faiss(codebooks: Floats) -> dict[str, Callable[[Floats], Codes]]:
    import faiss

    faiss.omp_set_num_threads(1)
    indices = []
    for words in codebooks:
        index = faiss.IndexFlatL2(codebooks.shape[2])
        index.add(words)
        indices.append(index)

    def encode(x: Floats) -> Codes:
        codes = np.empty((len(codebooks), len(x)), np.int64)
        for level, index in enumerate(indices):
            codes[level] = index.search(x, 1)[1][:, 0]
            x = x - codebooks[level][codes[level]]
        return codes

    return {"faiss IndexFlatL2": encode}


def entries(codebooks: Floats) -> dict[str, Callable[[Floats], Codes]]:
    """All that can run here."""
    found = ours(codebooks)
    for source in (encodec, vector_quantize, faiss):
        try:
            found |= source(codebooks)
        except ModuleNotFoundError as error:
            print(f"left out: no module {error.name}", file=sys.stderr)
    return found


def case(levels: int, dim: int, frames: int) -> tuple[Floats, Floats]:
    """latents [frames, dim], codebooks [levels, 1024, dim]; each level takes what a random codebook
    of 1024 can of white residuals."""
    rng = np.random.default_rng(0)
    shrink = np.float32(CODEWORDS ** (-1 / dim))
    scale = shrink ** np.arange(levels, dtype=np.float32) * np.sqrt(1 - shrink**2)
    codebooks = rng.standard_normal((levels, CODEWORDS, dim), np.float32)
    return rng.standard_normal((frames, dim), np.float32), codebooks * scale[:, None, None]


def reference(x: Floats, codebooks: Floats) -> Codes:
    """The nearest codewords in float64, each level's residual as the codes before left it."""
    codes = np.empty((len(codebooks), len(x)), np.int64)
    for level, words in enumerate(codebooks):
        exact = words.astype(np.float64)
        half = 0.5 * (exact * exact).sum(1)
        codes[level] = (half - x.astype(np.float64) @ exact.T).argmin(1)
        x = x - words[codes[level]]
    return codes


def residual(x: Floats, codebooks: Floats, codes: Codes) -> float:
    return float(np.linalg.norm(x - rvq.decode(codes, codebooks).astype(np.float64), axis=1).mean())


def measure(work: list[Callable[[], Any]], seconds: float) -> list[float]:
    """Median seconds of each, in turn, for about `seconds` each and three calls at least; calls of
    less than a millisecond twenty in a row, as a stream would make them."""
    for run in work:
        run()  # warms up
    times: list[list[float]] = [[] for _ in work]
    while len(times[0]) < 3 or sum(map(sum, times)) < seconds * len(work):
        for run, taken in zip(work, times, strict=True):
            for _ in range(20):
                start = time.perf_counter()
                run()
                taken.append(time.perf_counter() - start)
                if taken[-1] > 1e-3:
                    break
    return [statistics.median(taken) for taken in times]


def table(levels: int, dims: list[int], frames: list[int], seconds: float) -> list[str]:
    lines = [
        "| dim | frames | search | us | times codec's | equal | error |",
        "|--:|--:|---|--:|--:|--:|--:|",
    ]
    for dim in dims:
        codebooks = case(levels, dim, 1)[1]
        found = entries(codebooks)
        for n in frames:
            x = case(levels, dim, n)[0]
            expected = reference(x, codebooks)
            shortest = residual(x, codebooks, expected)
            medians = measure([lambda f=f, x=x: f(x) for f in found.values()], seconds)
            for (name, encode), median in zip(found.items(), medians, strict=True):
                codes = encode(x)
                lines.append(
                    f"| {dim} | {n} | {name} | {median * 1e6:,.1f} | {median / medians[0]:.1f} | "
                    f"{(codes == expected).mean():.3%} | "
                    f"{residual(x, codebooks, codes) / shortest - 1:.1e} |"
                )
            print(f"{levels} levels, {dim} dimensions, {n} frames", file=sys.stderr)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--levels", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--dims", type=int, nargs="+", default=[8, 64, 128])
    parser.add_argument("--frames", type=int, nargs="+", default=[1, 75, 7500])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each search (default 1)")
    options = parser.parse_args()
    try:
        import torch
    except ModuleNotFoundError:
        pass
    else:
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
    for levels in options.levels:
        print(f"\n{levels} codebooks of {CODEWORDS}:\n", flush=True)
        print("\n".join(table(levels, options.dims, options.frames, options.seconds)), flush=True)


if __name__ == "__main__":
    main()
