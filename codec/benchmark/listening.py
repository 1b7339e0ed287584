"""Merge the results that listeners saved from the pages."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codec.benchmark.statistics import Mean, bootstrap
from codec.errors import DataError

FORMAT = "codec-listening"
VERSION = 1


@dataclasses.dataclass(frozen=True)
class Rating:
    """The rating of a condition, 0 to 100: the mean of the listeners' means.

    Its interval is a bootstrap over listeners, or over clips if one listener rated.
    """

    condition: str
    listeners: int
    ratings: int
    mean: Mean


@dataclasses.dataclass(frozen=True)
class Told:
    """How often listeners identified X. chance: of at least as many right answers by guessing."""

    a: str
    b: str
    listeners: int
    correct: int
    total: int
    chance: float


@dataclasses.dataclass(frozen=True)
class Merged:
    ratings: list[Rating]
    told: list[Told]


def merge(paths: Sequence[Path]) -> Merged:
    """Merge all results in `paths`; a result given twice counts once. Raises DataError."""
    results: dict[tuple[str, ...], dict[str, Any]] = {}
    for path in paths:
        result = _read(path)
        results[result["listener"], result["kind"], result["finished"]] = result
    by_condition: dict[str, dict[str, list[float]]] = {}
    pairs: dict[tuple[str, str], list[tuple[str, bool]]] = {}
    for (listener, *_), result in results.items():
        for trial in result["trials"]:
            if result["kind"] == "abx":
                a, b = sorted((trial["a"], trial["b"]))
                pairs.setdefault((a, b), []).append((listener, trial["x"] == trial["answer"]))
                continue
            for item in trial["ratings"]:
                own = by_condition.setdefault(item["condition"], {})
                own.setdefault(listener, []).append(float(item["rating"]))
    ratings = []
    for condition, own in by_condition.items():
        means = [sum(values) / len(values) for values in own.values()]
        alone = next(iter(own.values()))
        count = sum(map(len, own.values()))
        mean = bootstrap(means if len(own) > 1 else alone)
        ratings.append(Rating(condition, len(own), count, mean))
    told = []
    for (a, b), answers in pairs.items():
        correct = sum(right for _, right in answers)
        listeners = len({listener for listener, _ in answers})
        chance = guessing(correct, len(answers))
        told.append(Told(a, b, listeners, correct, len(answers), chance))
    return Merged(sorted(ratings, key=lambda r: -r.mean.mean), sorted(told, key=lambda t: t.chance))


def guessing(correct: int, total: int) -> float:
    """Return the chance of at least `correct` right answers of `total` by guessing."""
    ways = sum(math.comb(total, k) for k in range(correct, total + 1))
    return float(ways / 2**total)


def markdown(merged: Merged) -> str:
    """Return Markdown tables of the ratings and of the ABX results."""
    lines: list[str] = []
    if merged.ratings:
        lines += ["| rated | mean | 95 % | listeners | ratings |", "|---|--:|--:|--:|--:|"]
    for rating in merged.ratings:
        mean = rating.mean
        interval = f"{mean.low:.1f} to {mean.high:.1f}"
        cells = [rating.condition, f"{mean.mean:.1f}", interval]
        lines.append(f"| {' | '.join(cells)} | {rating.listeners} | {rating.ratings} |")
    if merged.told:
        lines += [""] if lines else []
        lines += ["| told apart | right | by guessing | listeners |", "|---|--:|--:|--:|"]
    for told in merged.told:
        right = f"{told.correct} of {told.total}"
        lines.append(f"| {told.a}, {told.b} | {right} | {told.chance:.3f} | {told.listeners} |")
    return "\n".join(lines)


def _read(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(result, dict) or result.get("format") != FORMAT:
            raise DataError(f"{path}: not a listening result")
        if result["version"] != VERSION:
            raise DataError(
                f"{path}: version {result['version']}, which this version does not support"
            )
        return {
            "listener": str(result["listener"]),
            "finished": str(result["finished"]),
            "kind": _one_of(result["kind"], "abx", "mushra"),
            "trials": [_trial(trial, result["kind"]) for trial in result["trials"]],
        }
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: damaged: {type(error).__name__}: {error}") from None


def _trial(trial: Any, kind: str) -> dict[str, Any]:
    if kind == "abx":
        answers = {name: _one_of(trial[name], "a", "b") for name in ("x", "answer")}
        return {"a": str(trial["a"]), "b": str(trial["b"]), **answers}
    ratings = []
    for item in trial["ratings"]:
        rating = float(item["rating"])
        if not 0 <= rating <= 100:
            raise ValueError(f"a rating of {rating}")
        ratings.append({"condition": str(item["condition"]), "rating": rating})
    return {"ratings": ratings}


def _one_of(value: Any, *choices: str) -> str:
    if value not in choices:
        raise ValueError(f"{value!r} is none of {', '.join(choices)}")
    return str(value)
