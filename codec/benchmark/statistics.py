"""Compute means over clips with their intervals, and the bits that a codec saves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from codec.benchmark.work import Result
from codec.quality import METRICS

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean. low, high: the 95 % percentile interval of the bootstrap over clips."""

    mean: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Row:
    """The results of a codec at a setting on the clips of a kind."""

    kind: str
    codec: str
    setting: str
    clips: int
    kbps: Mean
    container_kbps: float
    metrics: dict[str, Mean]


@dataclasses.dataclass(frozen=True)
class BdRate:
    """The bits that a codec needs for equal quality.

    percent: how many more bits `codec` needs than the reference for the same value of the measure,
    averaged over the values that both reach; None if that range has less than two points.
    """

    kind: str
    metric: str
    codec: str
    percent: float | None


@dataclasses.dataclass(frozen=True)
class Omission:
    """A clip that counts for no codec in a measure, because one codec has no value for it.

    Means over different clips could not be compared.
    """

    kind: str
    metric: str
    clip: str
    codec: str
    setting: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Summary:
    rows: list[Row]
    bd_rate: list[BdRate]
    omissions: list[Omission]


def bootstrap(values: Sequence[float] | Floats) -> Mean:
    """Return the mean of `values`, one for each clip, with its percentile interval.

    Efron & Tibshirani 1993, ch. 13. The seed, and so the clips drawn, are the same for all codecs.
    """
    array = np.asarray(values, np.float64)
    generator = np.random.Generator(np.random.Philox(SEED))
    drawn = generator.integers(len(array), size=(RESAMPLES, len(array)))
    means = array[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Mean(float(array.mean()), float(low), float(high))


def bd_rate(
    reference: Sequence[tuple[float, float]], other: Sequence[tuple[float, float]]
) -> float | None:
    """Return Bjøntegaard's rate difference in percent, of curves of (kbit/s, value).

    It is the mean difference of log rate over the range of values that both reach, by monotone
    cubics (Bjøntegaard 2001, VCEG-M33; PCHIP as in HEVC's common test conditions, JCTVC-B055).
    Points that need more bits without a better value are left out. None if a curve has less than
    two points left, or if the ranges do not overlap.
    """
    from scipy.interpolate import PchipInterpolator

    curves = []
    for points in (reference, other):
        rising: list[tuple[float, float]] = []
        for rate, value in sorted(points):
            if not rising or value > rising[-1][1]:
                rising.append((rate, value))
        if len(rising) < 2:
            return None
        rates, values = np.array(rising).T
        curves.append((values, np.log(rates)))
    low = max(values[0] for values, _ in curves)
    high = min(values[-1] for values, _ in curves)
    if low >= high:
        return None
    first, second = (
        float(PchipInterpolator(values, rates).integrate(low, high)) for values, rates in curves
    )
    return 100 * float(np.expm1((second - first) / (high - low)))


def summarise(results: Iterable[Result], reference: str | None) -> Summary:
    """Summarise `results` of codecs that did not fail by kind, codec and setting, in their order.

    The caller makes sure that all settings of all codecs of a kind have the same clips.
    reference: the codec that BD-rates compare with.
    """
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.kind, result.codec, result.setting), []).append(result)
    omissions = [
        Omission(kind, metric, result.clip, codec, setting, reason)
        for (kind, codec, setting), group in groups.items()
        for result in group
        for metric, reason in result.failed.items()
    ]
    left_out = {(item.kind, item.metric, item.clip) for item in omissions}
    rows = []
    for (kind, codec, setting), group in groups.items():
        group = sorted(group, key=lambda result: result.clip)
        metrics = {}
        for name in dict.fromkeys(name for result in group for name in result.values):
            values = [
                result.values[name]
                for result in group
                if name in result.values and (kind, name, result.clip) not in left_out
            ]
            if values:
                metrics[name] = bootstrap(values)
        rows.append(
            Row(
                kind,
                codec,
                setting,
                len(group),
                bootstrap([result.kbps for result in group]),
                float(np.mean([result.container_kbps for result in group])),
                metrics,
            )
        )
    return Summary(rows, list(_bd_rates(rows, reference)) if reference else [], omissions)


def _bd_rates(rows: Sequence[Row], reference: str) -> Iterable[BdRate]:
    def curve(kind: str, codec: str, metric: str) -> list[tuple[float, float]]:
        sign = -1 if better(metric) == "lower" else 1
        return [
            (row.kbps.mean, sign * row.metrics[metric].mean)
            for row in rows
            if (row.kind, row.codec) == (kind, codec) and metric in row.metrics
        ]

    for kind in dict.fromkeys(row.kind for row in rows):
        of_kind = [row for row in rows if row.kind == kind]
        for metric in dict.fromkeys(name for row in of_kind for name in row.metrics):
            against = curve(kind, reference, metric)
            for codec in dict.fromkeys(row.codec for row in of_kind):
                if codec != reference and against:
                    percent = bd_rate(against, curve(kind, codec, metric))
                    yield BdRate(kind, metric, codec, percent)


def better(metric: str) -> str:
    """Return "higher" or "lower"; `visqol` is ViSQOL in the mode of the kind."""
    return METRICS["visqol_audio" if metric == "visqol" else metric].better
