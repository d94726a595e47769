"""How well an uncertainty score finds the wrong pixels.

All measures depend on the order of the scores only (the correlation excepted), so the pixels of any number of images
are kept as two histograms, of right and of wrong pixels.  The bins are the float32 numbers cut to 11 bits behind the
point: any score between 1e-38 and 1 is kept to a relative 0.05 %, counts are integers, and histograms of disjoint
images add up exactly.  Scores that share a bin count as tied.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_DROPPED_BITS = 12
_BINS = (0x3F800000 >> _DROPPED_BITS) + 1  # 0x3F800000 is 1.0
_ROUNDING = 1e-5  # a score may exceed [0, 1] by as much


class DetectionScores(NamedTuple):
    """Measures of one uncertainty score; NaN where undefined (no wrong, or no right pixel).

    Attributes:
        auroc: area under the ROC curve: probability that a wrong pixel is more uncertain than a right one.
        aupr: average precision of retrieving wrong pixels by uncertainty; the error rate is chance level.
        aurc: area under the risk-coverage curve: error rate among the most certain pixels, averaged over coverage.
        ause: area between the sparsification curve (error rate of what remains while the most uncertain pixels are
            removed, divided by the error rate of all) and the curve of an oracle.  0 is perfect.  For the 0/1 error
            of a label this is (aurc - oracle's aurc) / error rate.
        correlation: Pearson's between score and error (0/1), for the paper's "highly positively correlated".
    """

    auroc: float
    aupr: float
    aurc: float
    ause: float
    correlation: float


class ErrorHistogram:
    """Counts of right and wrong pixels per uncertainty.

    Attributes:
        counts: int64 (2, bins) on the CPU: right, wrong; by ascending score.
    """

    def __init__(self) -> None:
        self.counts = torch.zeros(2, _BINS, dtype=torch.int64)

    def update(self, score: Tensor, wrong: Tensor) -> ErrorHistogram:
        """Add pixels.

        Args:
            score: uncertainty in [0, 1], any shape.
            wrong: bool, same shape.

        Raises:
            ValueError: a score that is not in [0, 1].
        """
        score = score.float()
        if score.numel() and not (score.min() >= -_ROUNDING and score.max() <= 1 + _ROUNDING):
            raise ValueError(f"uncertainty must be in [0, 1]; got {score.min():.4g}..{score.max():.4g}")
        bins = (score.clamp(0, 1) + 0.0).view(torch.int32) >> _DROPPED_BITS  # + 0.0: there is a negative zero
        flat = bins.long() + wrong.long() * _BINS
        self.counts += torch.bincount(flat.flatten(), minlength=2 * _BINS).reshape(2, _BINS).cpu()
        return self

    def merge(self, other: ErrorHistogram) -> ErrorHistogram:
        """Add the pixels of ``other``."""
        self.counts += other.counts
        return self

    @property
    def pixels(self) -> int:
        """Number of pixels that were counted."""
        return int(self.counts.sum())

    @property
    def error_rate(self) -> float:
        """Fraction of wrong pixels; NaN without pixels."""
        return int(self.counts[1].sum()) / self.pixels if self.pixels else math.nan

    def scores(self) -> DetectionScores:
        """All measures of error detection."""
        occupied = self.counts.sum(0) > 0
        right, wrong = self.counts[:, occupied].double()
        aurc = _aurc(right, wrong)
        return DetectionScores(
            auroc=_auroc(right, wrong),
            aupr=_average_precision(right, wrong),
            aurc=aurc,
            ause=(aurc - self._oracle_aurc()) / self.error_rate if wrong.sum() else math.nan,
            correlation=_correlation(_bin_values()[occupied], right, wrong),
        )

    def risk_coverage(self, points: int = 50) -> tuple[list[float], list[float]]:
        """Coverage (fraction of pixels kept, most certain first) and the error rate among them."""
        if not self.pixels:
            return [], []
        occupied = self.counts.sum(0) > 0
        total, wrong = self.counts.sum(0)[occupied].double(), self.counts[1, occupied].double()
        kept, errors = total.cumsum(0), wrong.cumsum(0)
        number = (torch.arange(1, points + 1, dtype=torch.float64) / points * self.pixels).ceil()
        last = torch.searchsorted(kept, number)
        missing = kept[last] - number  # of the last bin; its pixels are tied, so any of them may be left out
        risk = (errors[last] - missing * wrong[last] / total[last]) / number
        return (number / self.pixels).tolist(), risk.tolist()

    def _oracle_aurc(self) -> float:
        right, wrong = self.counts.sum(1).double().split(1)
        return _aurc(torch.cat([right, right * 0]), torch.cat([wrong * 0, wrong]))


def _bin_values() -> Tensor:
    """Return the middle of each bin, float64."""
    bits = (torch.arange(_BINS, dtype=torch.int32) << _DROPPED_BITS) + (1 << (_DROPPED_BITS - 1))
    return bits.view(torch.float32).double()


def _auroc(right: Tensor, wrong: Tensor) -> float:
    if not (right.sum() and wrong.sum()):
        return math.nan
    less_uncertain = right.cumsum(0) - right / 2  # a tie counts one half
    return float((wrong * less_uncertain).sum() / (right.sum() * wrong.sum()))


def _average_precision(right: Tensor, wrong: Tensor) -> float:
    if not wrong.sum():
        return math.nan
    found, false_alarms = wrong.flip(0).cumsum(0), right.flip(0).cumsum(0)
    precision = found / (found + false_alarms)
    return float((wrong.flip(0) / wrong.sum() * precision).sum())


def _aurc(right: Tensor, wrong: Tensor) -> float:
    """Mean over n = 1..N of the expected error rate among the n most certain pixels, ties in random order.

    Within a bin of rate r the expected errors grow by r a pixel, so the sum of (constant + r n) / n has a closed form
    with harmonic numbers.
    """
    total = right + wrong
    total, wrong = total[total > 0], wrong[total > 0]
    if not len(total):
        return math.nan
    kept, errors, rate = total.cumsum(0), wrong.cumsum(0), wrong / total
    harmonic = torch.digamma(kept + 1) - torch.digamma(kept - total + 1)
    constant = (errors - wrong) - rate * (kept - total)
    return float((constant * harmonic + rate * total).sum() / kept[-1])


def _correlation(value: Tensor, right: Tensor, wrong: Tensor) -> float:
    total = right + wrong
    if not (right.sum() and wrong.sum()) or len(value) < 2:
        return math.nan
    rate = wrong.sum() / total.sum()
    mean = (value * total).sum() / total.sum()
    deviation = value - mean
    covariance = (deviation * (wrong - rate * total)).sum()
    return float(covariance / ((deviation**2 * total).sum() * rate * (1 - rate) * total.sum()).sqrt())
