"""Decide whether a measured difference is one: estimates with intervals, Holm's correction, four verdicts.

A difference is between two arms, first minus second, oriented so that positive favours the claim.  Its *unit* is what
was drawn at random and would be drawn anew in a repetition: trainings, sampling seeds or images.  Everything is paired:
the same training seed, sampling seed or image on both sides.  Bootstraps are in
:mod:`ddp_repro.evaluation.resampling`; ``explain_statistics.md`` says the same without formulas.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Unit = Literal["trainings", "sampling seeds", "images"]
Outcome = Literal["supported", "not supported", "equal", "undecided"]
Floats = NDArray[np.float64]

LEVEL = 0.95
MOST_UNITS = 100_000  # more are not asked for


class StatisticsError(ValueError):
    """Numbers from which no difference can be estimated."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval of a difference.

    Attributes:
        low, high: infinite where the spread is unknown, because there is one unit alone.
        level: confidence, e.g. 0.95.
        count, unit: how many of what the interval rests on.
    """

    estimate: float
    low: float
    high: float
    level: float
    count: int
    unit: Unit

    def to_dict(self) -> dict[str, Any]:
        """Return the fields JSON-ready; an infinite end becomes null."""
        return {name: None if value in (-math.inf, math.inf) else value for name, value in vars(self).items()}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A difference and how well it is known, from which an interval of any level follows.

    Attributes:
        value: the difference.
        error: its standard error; infinite where it is unknown.
        freedom: degrees of freedom of the error.
        count, unit: how many of what it rests on.
        method: how the error was found.
        floor: the part of the error that more units would leave as it is.
    """

    value: float
    error: float
    freedom: float
    count: int
    unit: Unit
    method: str
    floor: float = 0.0

    def interval(self, level: float = LEVEL) -> Interval:
        """Return the two-sided t-interval, ``value ± t · error``.

        Raises:
            StatisticsError: a level outside (0, 1).
        """
        _check_level(level)
        half = _half_width(self.error, self.freedom, level)
        low, high = self.value - half, self.value + half
        return Interval(estimate=self.value, low=low, high=high, level=level, count=self.count, unit=self.unit)

    def p_value(self, truth: float = 0.0) -> float:
        """Return the two-sided p-value of "the difference is ``truth``"."""
        distance = abs(self.value - truth)
        if math.isinf(self.error) or distance == 0:
            return 1.0
        return 0.0 if self.error == 0 else 2 * float(special.stdtr(self.freedom, -distance / self.error))

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate in another measuring unit, e.g. times 100 in percent; below 0 it turns round."""
        errors = {name: getattr(self, name) * abs(factor) for name in ("error", "floor")}
        return dataclasses.replace(self, value=self.value * factor, **errors)

    def expected(self, count: int) -> Estimate:
        """Return what ``count`` units around the same difference with the same spread would give."""
        shrinking = (self.error**2 - self.floor**2) * self.count / count
        freedom = max(self.freedom * (count - 1) / max(self.count - 1, 1), 1)
        error = math.sqrt(max(shrinking, 0) + self.floor**2)
        return dataclasses.replace(self, error=error, freedom=freedom, count=count)


@dataclass(frozen=True, kw_only=True)
class LeastEstimate(Estimate):
    """The least of several differences: by how much the first arm is ahead of the best of its rivals.

    Its interval follows from intervals of the parts that hold together (Bonferroni), so that it is no matter which
    rival was lucky.  ``value`` is the least of the parts', ``error`` the largest; no arithmetic is done with them.

    Attributes:
        parts: one for each rival.
    """

    parts: tuple[Estimate, ...]

    def interval(self, level: float = LEVEL) -> Interval:
        """Return from the least low end to the least high end of the parts' simultaneous intervals."""
        _check_level(level)
        ends = [part.interval(1 - (1 - level) / len(self.parts)) for part in self.parts]
        low, high = min(end.low for end in ends), min(end.high for end in ends)
        return Interval(estimate=self.value, low=low, high=high, level=level, count=self.count, unit=self.unit)

    def p_value(self, truth: float = 0.0) -> float:
        """Return the smallest error rate whose interval excludes ``truth``."""
        below = [part.p_value(truth) for part in self.parts if part.value < truth]
        if below:
            return min(1.0, len(self.parts) * min(below))
        return min(1.0, len(self.parts) * max(part.p_value(truth) for part in self.parts))

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate in another measuring unit; the factor must be above 0, or the least would be another."""
        if factor <= 0:
            raise StatisticsError(f"the least of several differences cannot be scaled by {factor}")
        return least([part.scaled(factor) for part in self.parts])

    def expected(self, count: int) -> Estimate:
        """Return what ``count`` units around the same differences would give."""
        return least([part.expected(count) for part in self.parts])


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What an interval says about "the first arm is better by at least something that matters".

    Attributes:
        minimum: the smallest effect that matters, chosen before the numbers were seen.
        needed: of "undecided", how many units would decide at the spread and difference seen; None where the spread is
            unknown (one unit) or more than 100,000 would be needed.
    """

    outcome: Outcome
    interval: Interval
    minimum: float
    needed: int | None = None

    def describe(self) -> str:
        """Return the verdict in words."""
        if self.outcome == "equal":
            return f"equal within ±{self.minimum:g}"
        if self.outcome != "undecided":
            return self.outcome
        if self.needed is not None:
            return f"undecided: about {self.needed} {self.interval.unit} would decide it at the spread seen"
        few = self.interval.count < 2
        return f"undecided: {'at least 2' if few else 'more'} {self.interval.unit} " + (
            "are needed" if few else "would not decide it"
        )


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The verdict on one claim of a table, by itself and corrected for the number of claims.

    Attributes:
        p_raw: the smallest error rate at which the claim would be decided at all.
        p_corrected: the same by Holm's method, for all claims of the table together.
    """

    raw: Verdict
    corrected: Verdict
    p_raw: float
    p_corrected: float


# -- estimates ---------------------------------------------------------------------------------------------------------


def paired_difference(first: Sequence[float], second: Sequence[float], unit: Unit = "trainings") -> Estimate:
    """Estimate first minus second from pairs, e.g. one per training seed: the paired t-test's interval.

    With one pair nothing is known about the spread, and the interval is infinite.  Where all pairs differ by exactly
    the same, the interval is this one number.

    Raises:
        StatisticsError: other numbers of values, none, or one that is not finite.
    """
    if len(first) != len(second):
        raise StatisticsError(f"{len(first)} and {len(second)} {unit}; pairs need as many on both sides")
    differences = finite_array(f"scores of {unit}", np.subtract(first, second), 1)
    count, value = len(differences), float(differences.mean())
    error = float(differences.std(ddof=1)) / math.sqrt(count) if count > 1 else math.inf
    return Estimate(
        value=value, error=error, freedom=max(count - 1, 1), count=count, unit=unit, method="paired t-interval"
    )


def least(parts: Sequence[Estimate]) -> Estimate:
    """Estimate the least of several differences; of a single one, that one.

    Raises:
        StatisticsError: there is none, or their units differ.
    """
    if len({part.unit for part in parts}) != 1:
        raise StatisticsError(f"the least of {len(parts)} differences needs one unit for all of them")
    if len(parts) == 1:
        return parts[0]
    lowest = min(parts, key=lambda part: part.value)
    return LeastEstimate(
        value=lowest.value, error=max(part.error for part in parts), freedom=min(part.freedom for part in parts),
        count=min(part.count for part in parts), unit=lowest.unit, parts=tuple(parts),
        method=f"least of {len(parts)} ({lowest.method})",
    )  # fmt: skip


# -- verdicts ----------------------------------------------------------------------------------------------------------


def decide(estimate: Estimate, minimum: float, level: float = LEVEL) -> Verdict:
    """Judge a difference by its interval.

    - *equal within ±minimum*: the interval lies inside ±minimum, even where it excludes 0;
    - *supported*: else, the interval lies above 0;
    - *not supported*: else, it lies below the minimum;
    - *undecided*: else.

    So a verdict is wrong only where the interval misses the truth.

    Args:
        minimum: the smallest effect that matters, greater than 0, in the difference's unit.

    Raises:
        StatisticsError: a minimum that is not greater than 0, or a level outside (0, 1).
    """
    if not 0 < minimum < math.inf:
        raise StatisticsError(f"the smallest effect that matters must be greater than 0; got {minimum}")
    interval = estimate.interval(level)
    outcome = _outcome(interval.low, interval.high, minimum)
    needed = _units_to_decide(estimate, minimum, level) if outcome == "undecided" else None
    return Verdict(outcome=outcome, interval=interval, minimum=minimum, needed=needed)


def decide_table(
    estimates: Mapping[str, Estimate], minimum: float | Mapping[str, float], level: float = LEVEL
) -> dict[str, Decision]:
    """Judge all claims of a table, each by itself and by Holm's method.

    The clearest of m claims is judged at the error rate (1 - level) / m, the next one at (1 - level) / (m - 1), and so
    on until one remains undecided; those after it are judged at the same rate, and so undecided too.

    Args:
        minimum: the smallest effect that matters, one for all or one per claim.

    Raises:
        StatisticsError: as :func:`decide`.
    """
    minima = {name: minimum[name] if isinstance(minimum, Mapping) else minimum for name in estimates}
    raw = {name: decide(estimate, minima[name], level) for name, estimate in estimates.items()}
    p_raw = {name: decision_p(estimate, minima[name]) for name, estimate in estimates.items()}
    p_corrected = dict(zip(p_raw, holm(list(p_raw.values())), strict=True))
    order, judged = sorted(p_raw, key=lambda claim: p_raw[claim]), {}
    for rank, name in enumerate(order):
        if not judged or judged[order[rank - 1]].outcome != "undecided":
            strict = 1 - (1 - level) / (len(order) - rank)
        judged[name] = decide(estimates[name], minima[name], strict)
    return {
        name: Decision(raw=raw[name], corrected=judged[name], p_raw=p_raw[name], p_corrected=p_corrected[name])
        for name in estimates
    }


def decision_p(estimate: Estimate, minimum: float) -> float:
    """Return the smallest error rate at which :func:`decide` reaches any verdict but "undecided".

    That is the rate at which the interval leaves 0 below it, or the minimum above it; "equal" needs the latter, and
    that -minimum is left behind, which is farther still.
    """
    supported = estimate.p_value(0.0) if estimate.value > 0 else 1.0
    refuted = estimate.p_value(minimum) if estimate.value < minimum else 1.0
    return min(supported, refuted)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number by Holm's (1979) step-down method; in the given order.

    Raises:
        StatisticsError: a value outside [0, 1].
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise StatisticsError(f"p-values must be in [0, 1]; got {list(p_values)}")
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def _outcome(low: float, high: float, minimum: float) -> Outcome:
    if -minimum < low and high < minimum:
        return "equal"
    if low > 0:
        return "supported"
    return "not supported" if high < minimum else "undecided"


def _units_to_decide(estimate: Estimate, minimum: float, level: float) -> int | None:
    """Return the least number of units that would decide, or None."""

    def decides(count: int) -> bool:
        interval = estimate.expected(count).interval(level)
        return _outcome(interval.low, interval.high, minimum) != "undecided"

    low, high = estimate.count, MOST_UNITS
    if math.isinf(estimate.error) or not decides(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high


def _half_width(error: float, freedom: float, level: float) -> float:
    return math.inf if math.isinf(error) else float(special.stdtrit(freedom, (1 + level) / 2)) * error


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise StatisticsError(f"level must be between 0 and 1; got {level}")


def finite_array(name: str, values: ArrayLike, dimensions: int) -> Floats:
    """Return ``values`` as float64.

    Raises:
        StatisticsError: another number of dimensions, nothing in it, or a value that is not finite; says how many.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions or not array.size:
        raise StatisticsError(f"{name} have shape {array.shape}; expected {dimensions} dimensions and some values")
    if not np.isfinite(array).all():
        raise StatisticsError(f"{name} hold {int((~np.isfinite(array)).sum())} undefined (not finite) values")
    return array
