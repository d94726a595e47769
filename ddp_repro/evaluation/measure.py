"""How a measure is headed and printed, and what becomes of one that is undefined.

A measure is undefined where there is nothing to measure: no pixel that counts, a class that does not occur.  In numbers
that are computed with it is NaN, in stored ones null, in tables :data:`UNDEFINED`; it is never left out of a mean.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

UNDEFINED = "undefined"


@dataclass(frozen=True)
class Measure:
    """``direction``: whether higher or lower is better."""

    label: str
    direction: Literal["higher", "lower"]
    decimals: int
    unit: str | None = None

    @property
    def heading(self) -> str:
        """Such as ``RMSE (m) ↓``."""
        unit = f" ({self.unit})" if self.unit else ""
        return f"{self.label}{unit} {'↑' if self.direction == 'higher' else '↓'}"


def number_text(value: float | None, decimals: int, sign: str = "") -> str:
    """Return a number as it is printed, or :data:`UNDEFINED` for NaN and None.

    Args:
        sign: ``+`` prints that of positive numbers, too.
    """
    return UNDEFINED if value is None or math.isnan(value) else f"{value:{sign}.{decimals}f}"


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Return mean and sample standard deviation (None for a single value); both are NaN where a value is NaN.

    Raises:
        statistics.StatisticsError: there is no value.
    """
    if any(math.isnan(value) for value in values):  # the standard library cannot take their deviation
        return math.nan, math.nan if len(values) > 1 else None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def mean_text(values: Sequence[float], decimals: int) -> str:
    """Return ``mean ± sample standard deviation``, the mean alone of one value, or :data:`UNDEFINED`.

    Raises:
        statistics.StatisticsError: there is no value.
    """
    mean, deviation = spread(values)
    if math.isnan(mean) or deviation is None:
        return number_text(mean, decimals)
    return f"{mean:.{decimals}f} ± {deviation:.{decimals}f}"


def or_none(value: float) -> float | None:
    """Return a number as JSON can hold it: None where it is not finite."""
    return value if math.isfinite(value) else None


def or_nan(value: float | None) -> float:
    """Return a stored number as one to compute with: NaN where it is undefined."""
    return math.nan if value is None else value


def json_ready(values: Any) -> Any:
    """Return nested lists, tuples and mappings with None in the place of every number that is not finite."""
    if isinstance(values, dict):
        return {name: json_ready(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [json_ready(value) for value in values]
    return or_none(values) if isinstance(values, float) else values
