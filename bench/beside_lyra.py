"""Every measure of `codec bench` for our codec and Lyra v2 at nearly the same bits, as Markdown.

    python -m bench.beside_lyra EVAL_DIR --lyra DIR [--report REPORT] [--jobs 2] [-o FILE]

The clips are those of EVAL_DIR named speech_*. Means over clips; of `codec-refine-enhance` less
Lyra also the mean of the differences clip by clip, with its 95 % interval (bootstrap over clips). A
second run measures only what is new.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.output import put
from bench.results import compare
from codec.benchmark.machine import machine
from codec.benchmark.peers import Options
from codec.benchmark.run import Outcome, Plan
from codec.benchmark.statistics import better, bootstrap
from codec.benchmark.tables import title
from codec.errors import CodecError
from codec.quality import METRICS

REFINED, LYRA = "codec-refine-enhance", "lyra"
# Ours come to 1.5, 3 and 6 kbit/s after entropy coding.
SETTINGS = {
    "codec-enhance": ("1.75", "3.25", "6.25"),
    REFINED: ("1.75", "3.25", "6.25"),
    LYRA: ("3.2", "6"),
}
SHOWN = {"codec-enhance": "codec", REFINED: "codec, `--refine 20 --beam 16`", LYRA: "Lyra v2"}
PAIRS = {"3.2": "3.25", "6": "6.25"}  # settings of Lyra and of ours that are compared

Column = tuple[str, str]  # codec and setting
Values = dict[Column, dict[str, dict[str, float]]]  # of measures, of clips


def collected(outcome: Outcome) -> Values:
    """Values of each column by measure and clip, the payload's bitrate as `kbps` among them."""
    found: Values = {}
    for result in outcome.results:
        measures = found.setdefault((result.codec, result.setting), {})
        for name, value in {"kbps": result.kbps, **result.values}.items():
            measures.setdefault(name, {})[result.clip] = value
    return found


def mean(values: dict[str, float]) -> float:
    return sum(values.values()) / len(values)


def means_table(found: Values) -> str:
    """The means of all columns, a measure a row."""
    columns = [(codec, setting) for codec, settings in SETTINGS.items() for setting in settings]
    rates = [f"{SHOWN[column[0]]}, {mean(found[column]['kbps']):.2f} kbit/s" for column in columns]
    lines = ["| measure | better | " + " | ".join(rates) + " |", "|---|---|" + "--:|" * len(rates)]
    for name in measures(found):
        cells = [f"{mean(found[column][name]):.3f}" for column in columns]
        lines.append(f"| {title(name)} | {better(name)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def measures(found: Values) -> list[str]:
    """Measures that every column has, in the order of METRICS."""
    shared = set.intersection(*(set(values) for values in found.values()))
    return [name for name in ("visqol", *METRICS) if name in shared]


def differences_table(found: Values) -> str:
    """How much the refined codec is better than Lyra, clip by clip."""
    heads = [f"better than Lyra at {setting}" for setting in PAIRS]
    columns = " | ".join(f"{head} | in clips" for head in heads)
    lines = [f"| measure | {columns} |", "|---|" + "--:|--:|" * len(heads)]
    for name in measures(found):
        sign = -1 if better(name) == "lower" else 1
        cells = []
        for lyra, own in PAIRS.items():
            ours, theirs = found[REFINED, own][name], found[LYRA, lyra][name]
            gains = [sign * (ours[clip] - theirs[clip]) for clip in sorted(ours)]
            gain = bootstrap(gains)
            cells.append(f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})")
            cells.append(f"{sum(one > 0 for one in gains)} of {len(gains)}")
        lines.append(f"| {title(name)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="EVAL_DIR")
    parser.add_argument("--lyra", type=Path, metavar="DIR", required=True, help="Lyra's models")
    parser.add_argument("--report", type=Path, default=Path("report"), help="where the clips go")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("-o", "--output", type=Path, help="default: standard output")
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(given)
    clips = tuple(sorted(options.folder.glob("speech_*")))
    if not clips:
        sys.exit(f"error: {options.folder}: no clips named speech_*")
    plan = Plan(
        clips,
        options.report,
        tuple(SETTINGS),
        SETTINGS,
        options=Options(lyra=options.lyra),
        jobs=options.jobs,
    )
    try:
        outcome = compare(plan)
    except CodecError as error:
        sys.exit(f"error: {error}")
    if outcome.skipped or outcome.rejected:
        missing = {**outcome.skipped, **outcome.rejected}
        sys.exit("error: " + "; ".join(f"{name}: {why}" for name, why in missing.items()))
    found = collected(outcome)
    parts = [
        "# Beside Lyra v2: every measure",
        f"By `{shlex.join(['python', '-m', 'bench.beside_lyra', *given])}`; {machine()}; "
        f"{len(clips)} speech clips. kbit/s are those of the payloads.",
        means_table(found),
        f"`{REFINED}` less Lyra, clip by clip, with the sign that more is better:",
        differences_table(found),
    ]
    put("\n\n".join(parts) + "\n", options.output)


if __name__ == "__main__":
    main()
