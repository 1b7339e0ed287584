"""Plot rate against quality: means over clips with their intervals, as SVG and PNG."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codec.benchmark.statistics import Row, Summary, better
from codec.benchmark.tables import title

# Okabe and Ito's colours, which colour-blind readers can tell apart; markers differ too.
COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#666666", "#B8A800",
)  # fmt: skip
MARKERS = "osD^vPX*"
ORIGINAL = "pcm"  # drawn as a line: a point at its bitrate would leave no room for the others


def write_plots(summary: Summary, folder: Path) -> list[Path]:
    """Write KIND_METRIC.svg and .png to `folder` and return the paths of the SVGs."""
    import matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    codecs = [name for name in dict.fromkeys(row.codec for row in summary.rows) if name != ORIGINAL]
    # Keep text as text, and write the same file for the same numbers.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "codec"}):
        for kind in dict.fromkeys(row.kind for row in summary.rows):
            rows = [row for row in summary.rows if row.kind == kind]
            for metric in dict.fromkeys(name for row in rows for name in row.metrics):
                figure = _plot(rows, kind, metric, codecs)
                path = folder / f"{kind}_{metric}.svg"
                figure.savefig(path, metadata={"Date": None})
                figure.savefig(path.with_suffix(".png"), dpi=150)
                written.append(path)
    return written


def _plot(rows: Sequence[Row], kind: str, metric: str, codecs: Sequence[str]) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    styles = dict(zip(codecs, itertools.cycle(zip(COLOURS, MARKERS, strict=True)), strict=False))
    for codec in codecs:
        found = [row for row in rows if row.codec == codec and metric in row.metrics]
        found.sort(key=lambda row: row.kbps.mean)
        if not found:
            continue
        colour, marker = styles[codec]
        rates = [row.kbps.mean for row in found]
        means = [row.metrics[metric] for row in found]
        middle = [mean.mean for mean in means]
        low, high = [mean.low for mean in means], [mean.high for mean in means]
        axes.plot(rates, middle, color=colour, marker=marker, markersize=5, label=codec)
        if len(found) > 1:
            axes.fill_between(rates, low, high, color=colour, alpha=0.15, linewidth=0)
        else:
            bars = [[middle[0] - low[0]], [high[0] - middle[0]]]
            axes.errorbar(rates, middle, yerr=bars, color=colour, capsize=3)
    for row in rows:
        if row.codec == ORIGINAL and metric in row.metrics:
            axes.axhline(row.metrics[metric].mean, color="#888888", linestyle=":", label="original")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 3, 4, 6, 8)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if better(metric) == "lower":
        axes.invert_yaxis()
    axes.set_xlabel("kbit/s of payload")
    axes.set_ylabel(title(metric))
    axes.set_title(f"{kind.capitalize()}: {title(metric)}, up is better", fontsize=10)
    axes.grid(alpha=0.3, which="major")
    axes.legend(fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure
