"""Write results as files for other programs, and as Markdown."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codec.benchmark.statistics import Mean, Row, Summary
from codec.benchmark.tokens import TokenQuality
from codec.benchmark.work import Result
from codec.quality import METRICS
from codec.support.atomic import replacing

FIXED = ("clip", "kind", "codec", "setting", "kbps", "container_kbps", "seconds", "delay")


def columns(results: Sequence[Result]) -> list[str]:
    """Return FIXED, then the measures in the order of METRICS."""
    taken = {name for result in results for name in result.values}
    order = ["visqol", *METRICS]
    return [*FIXED, *sorted(taken, key=order.index)]


def rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return a row for each result, with None for a missing value."""
    names = columns(results)
    return [
        {name: getattr(item, name) if name in FIXED else item.values.get(name) for name in names}
        for item in results
    ]


def write_csv(results: Sequence[Result], path: Path) -> None:
    """Write CSV, with empty cells for missing values."""
    with replacing(path, overwrite=True) as aside, aside.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns(results), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows(results))


def write_parquet(results: Sequence[Result], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = columns(results)
    types = {name: pa.string() for name in ("clip", "kind", "codec", "setting")}
    schema = pa.schema([(name, types.get(name, pa.float64())) for name in names])
    with replacing(path, overwrite=True) as aside:
        pq.write_table(pa.Table.from_pylist(rows(results), schema), aside, compression="zstd")


def write_summary(summary: Summary, path: Path) -> None:
    text = json.dumps(dataclasses.asdict(summary), indent=1, ensure_ascii=False, allow_nan=False)
    with replacing(path, overwrite=True) as aside:
        aside.write_text(text + "\n", encoding="utf-8")


def markdown(summary: Summary, names: Sequence[str] | None = None) -> str:
    """Return a table for each kind: codecs and settings by rate, means with 95 % intervals."""
    parts = []
    for kind in dict.fromkeys(row.kind for row in summary.rows):
        found = [row for row in summary.rows if row.kind == kind]
        taken = list(dict.fromkeys(name for row in found for name in row.metrics))
        shown = [name for name in taken if names is None or name in names]
        count = max(row.clips for row in found)
        parts.append(f"### {kind.capitalize()}, {count} clip{'s' if count > 1 else ''}")
        parts.append(_table(found, shown))
    return "\n\n".join(parts)


def bd_markdown(summary: Summary, reference: str, names: Sequence[str] | None = None) -> str:
    """Return a table of the bits that each codec needs for equal values, against a reference."""
    lines = [
        f"| kind | codec | measure | bits against {reference} |",
        "|---|---|---|--:|",
    ]
    for item in summary.bd_rate:
        if names is None or item.metric in names:
            percent = "no overlap" if item.percent is None else f"{item.percent:+.0f} %"
            lines.append(f"| {item.kind} | {item.codec} | {title(item.metric)} | {percent} |")
    return "\n".join(lines)


def tokens_markdown(quality: TokenQuality) -> str:
    """Return tables of bit/s, the use of the codebooks, and the stability of the codes."""
    levels = len(quality.levels)
    depths = sorted({max(1, round(share * levels)) for share in (1 / 12, 1 / 4, 1 / 2, 1)})
    coders = ["raw", "order_0"]
    coders += [name for name in ("tables", "prior") if getattr(quality.levels[0], name) is not None]
    rates = ["| codebooks | " + " | ".join(coders) + " |", "|--:|" + "--:|" * len(coders)]
    for depth in depths:
        cells = [f"{quality.bits_per_second(name, depth):.0f}" for name in coders]
        rates.append(f"| {depth} | " + " | ".join(cells) + " |")
    use = ["| level | used | perplexity | " + " | ".join(coders[1:]) + " |"]
    use.append("|--:|--:|--:|" + "--:|" * len(coders[1:]))
    for level in quality.levels:
        cells = [f"{getattr(level, name):.2f}" for name in coders[1:]]
        shown = f"| {level.number} | {level.used:.0%} | {level.perplexity:.0f} | "
        use.append(shown + " | ".join(cells) + " |")
    heads = [str(depth) for depth in depths]
    kept = ["| the same codes, of the first | " + " | ".join(heads) + " |"]
    kept.append("|---|" + "--:|" * len(depths))
    for change in quality.changes:
        cells = [f"{sum(change.kept[:depth]) / depth:.1%}" for depth in depths]
        kept.append(f"| {change.name} | " + " | ".join(cells) + " |")
    for size, share in quality.chunkings.items():
        cells = [f"{share:.0%}"] * len(depths)
        kept.append(f"| pushed {size} samples at a time | " + " | ".join(cells) + " |")
    parts = [
        f"{quality.clips} clips, {quality.frames} frames at {quality.frame_rate:g} Hz.",
        "Bits a second:",
        "\n".join(rates),
        f"Codebooks of {quality.codebook_size}, and bits a code:",
        "\n".join(use),
        "Stability:",
        "\n".join(kept),
        *(f"{name}: left out, {why}." for name, why in quality.changes_left_out.items()),
    ]
    return "\n\n".join(parts)


def title(metric: str) -> str:
    return "ViSQOL" if metric == "visqol" else METRICS[metric].title


def _table(found: Sequence[Row], names: Sequence[str]) -> str:
    heads = ["codec", "setting", "kbit/s", "with container", *map(title, names)]
    lines = ["| " + " | ".join(heads) + " |", "|---|--:|" + "--:|" * (2 + len(names))]
    for row in sorted(found, key=lambda row: row.kbps.mean):
        cells = [row.codec, row.setting, f"{row.kbps.mean:.2f}", f"{row.container_kbps:.2f}"]
        cells += [_cell(row.metrics.get(name)) for name in names]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(mean: Mean | None) -> str:
    if mean is None:
        return ""
    half = max(mean.high - mean.mean, mean.mean - mean.low)
    digits = 3 if abs(mean.mean) < 1 else 2 if abs(mean.mean) < 10 else 1
    return f"{mean.mean:.{digits}f} ± {half:.{digits}f}"
