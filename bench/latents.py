"""Measure continuous latents: quality of what they decode to, and how many dimensions they use.

    python -m bench.latents EVAL_DIR -o bench/latents.md

Quality is that of decoded latents, in float32 and in float16 as `codec tokenize --latents` writes
them, beside that of all codebooks. The effective dimension of the normalised latents is the
participation ratio of their covariance, (sum of eigenvalues)^2 / sum of squared eigenvalues, and
the number of principal components that hold 90 and 99 % of the variance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import codec
from bench.clips import SAMPLE_RATE, read_clips
from codec.benchmark.machine import machine
from codec.quality import METRICS

SHOWN = ("pesq_wb", "stoi", "mel", "si_sdr")


def effective_dimension(latents: np.ndarray) -> tuple[float, int, int]:
    """Participation ratio, and components for 90 and 99 % of the variance, of [dim, frames]."""
    values = np.linalg.eigvalsh(np.cov(latents.astype(np.float64)))[::-1]
    share = np.cumsum(values) / values.sum()
    ratio = values.sum() ** 2 / (values**2).sum()
    return float(ratio), int(np.searchsorted(share, 0.9)) + 1, int(np.searchsorted(share, 0.99)) + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    model = codec.load(backend="native")
    scores: dict[tuple[str, str], list[list[float]]] = {}
    all_latents = []
    for clip in read_clips(options.folder):
        mono = clip.audio[: round(options.seconds * SAMPLE_RATE)]
        kind = "speech" if clip.kind == "speech" else "music and general"
        latents = model.encode_latents(mono, SAMPLE_RATE)
        all_latents.append(latents[0])
        n = len(mono)
        ways = {
            "latents, float32": model.decode_latents(latents, n_samples=n)[0],
            "latents, float16": model.decode_latents(latents.astype(np.float16), n_samples=n)[0],
            "28 codebooks, 7 kbit/s": model.decode(model.encode(mono, SAMPLE_RATE))[0],
            "12 codebooks, 3 kbit/s": model.decode(model.encode(mono, SAMPLE_RATE, n_codebooks=12))[
                0
            ],
        }
        for way, decoded in ways.items():
            row = [
                METRICS[name](mono, decoded, SAMPLE_RATE)
                if kind == "speech" or name not in ("pesq_wb", "stoi")
                else np.nan
                for name in SHOWN
            ]
            scores.setdefault((kind, way), []).append(row)
    ratio, most, nearly_all = effective_dimension(np.concatenate(all_latents, axis=1))
    lines = [
        "# Continuous latents",
        "",
        f"`python -m bench.latents EVAL_DIR`, {machine()}. Model {model.model_id.hex()},",
        f"{model.config.latent_dim} dimensions at {model.config.frame_rate:g} Hz;"
        f" {len(all_latents)} clips of at most {options.seconds:g} s.",
        "",
        "| kind | decoded from | PESQ-WB | STOI | mel distance | SI-SDR, dB |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for (kind, way), rows in sorted(scores.items(), key=lambda item: item[0][0] != "speech"):
        means = np.array(rows).mean(axis=0)
        texts = ["" if np.isnan(mean) else f"{mean:.3f}" for mean in means]
        lines.append(f"| {kind} | {way} | {' | '.join(texts)} |")
    lines += [
        "",
        "The effective dimension of the normalised latents over these clips, by the participation",
        f"ratio of their covariance, is {ratio:.1f} of {model.config.latent_dim}; {most} principal"
        f" components hold 90 % of the variance and {nearly_all} hold 99 %.",
        "",
    ]
    options.output.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
