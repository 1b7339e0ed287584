"""Objective measures of decoded audio against its original. Packages load when they are used."""

from codec.errors import MetricError, MissingPackageError
from codec.quality.metrics import METRICS, Measured, Metric, available, measure, names_for

__all__ = [
    "METRICS",
    "Measured",
    "Metric",
    "MetricError",
    "MissingPackageError",
    "available",
    "measure",
    "names_for",
]
