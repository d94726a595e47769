"""IoU of overlapping map classes over seven thresholds (Table 3).

The published number of a class is its IoU at the best of the thresholds, chosen on the evaluated data itself; the IoU
at 0.5 beside it has nothing chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

THRESHOLDS = (0.35, 0.40, 0.45, 0.50, 0.55, 0.60, 0.65)
EPSILON = 1e-7  # an absent class that is never predicted has IoU 0


class ThresholdCounts:
    """Cells of each class and threshold, over all samples; counts of disjoint samples add up exactly.

    Its measures are "miou", the mean over the classes of the published number, and "miou_at_half", at 0.5.  They are
    NaN where no sample was counted.

    Attributes:
        counts: (3, K, T) int64 on the CPU; true positives, false positives, false negatives.
        samples: how many were counted.
    """

    rows = ("true_positives", "false_positives", "false_negatives")
    metrics: tuple[str, ...] = ("miou", "miou_at_half")
    higher_is_better = True

    def __init__(self, num_classes: int) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        self.counts = torch.zeros(3, num_classes, len(THRESHOLDS), dtype=torch.int64)
        self.samples = 0

    @property
    def num_classes(self) -> int:
        """Number K of classes."""
        return self.counts.shape[1]

    def update(self, probability: Tensor, masks: Tensor) -> ThresholdCounts:
        """Count the cells of one batch.

        Args:
            probability: (B, K, X, Y); a cell is predicted where it is at least the threshold.
            masks: truth, same shape and device, boolean or 0 and 1.

        Raises:
            ValueError: shapes differ, another number of classes, or a probability that is not finite.
        """
        if probability.shape != masks.shape or probability.shape[1] != self.num_classes:
            raise ValueError(
                f"probability has shape {tuple(probability.shape)}, masks {tuple(masks.shape)}; expected equal shapes "
                f"(B, {self.num_classes}, X, Y)"
            )
        for each, mask in zip(probability, masks, strict=True):
            self.counts += self._count(each, mask)
        self.samples += len(probability)
        return self

    def _count(self, probability: Tensor, masks: Tensor) -> Tensor:
        """(3, K, T) of one sample, (K, X, Y)."""
        if not probability.isfinite().all():
            raise ValueError("a probability is not finite; expected values in [0, 1]")
        # compared as float32, so that a probability of exactly the threshold counts as predicted
        thresholds = torch.tensor(THRESHOLDS, device=probability.device)[:, None, None]
        predicted = probability.float()[:, None] >= thresholds  # (K, T, X, Y)
        masks = masks.bool()[:, None]  # (K, 1, X, Y)
        kinds = (predicted & masks, predicted & ~masks, ~predicted & masks)
        return torch.stack([kind.sum((2, 3)) for kind in kinds]).cpu()

    def image_statistics(self, probability: Tensor, masks: Tensor) -> dict[str, NDArray[np.int64]]:
        """Return what a sample (K, X, Y) adds, (K, T) by name, without counting it.

        Raises:
            ValueError: a probability that is not finite.
        """
        return dict(zip(self.rows, self._count(probability, masks).numpy(), strict=True))

    def add(self, statistics: Mapping[str, NDArray[Any]]) -> ThresholdCounts:
        """Count samples by their statistics, (N, K, T) by name."""
        total = np.stack([statistics[name].sum(0, dtype=np.int64) for name in self.rows])
        self.counts += torch.from_numpy(total)
        self.samples += len(statistics[self.rows[0]])
        return self

    def merge(self, other: ThresholdCounts) -> ThresholdCounts:
        """Add the counts of ``other`` to these.

        Raises:
            ValueError: another number of classes.
        """
        if other.num_classes != self.num_classes:
            raise ValueError(f"cannot merge counts of {self.num_classes} and {other.num_classes} classes")
        self.counts += other.counts
        self.samples += other.samples
        return self

    def iou(self) -> Tensor:
        """(K, T) float64."""
        hit, *missed = self.counts.double()
        return hit / (hit + sum(missed) + EPSILON) if self.samples else torch.full_like(hit, torch.nan)

    def best_iou(self) -> Tensor:
        """(K,) float64, each class at its best threshold (the published number)."""
        return self.iou().amax(1)

    def iou_at(self, threshold: float) -> Tensor:
        """(K,) float64 at one of :data:`THRESHOLDS`.

        Raises:
            ValueError: another threshold.
        """
        return self.iou()[:, THRESHOLDS.index(threshold)]

    def value(self, metric: str) -> float:
        """Mean over the classes of :meth:`best_iou`, or of :meth:`iou_at` 0.5."""
        return float((self.best_iou() if metric == "miou" else self.iou_at(0.5)).mean())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready up to NaN: all measures, and each class's IoU at each threshold."""
        return {metric: self.value(metric) for metric in self.metrics} | {"iou": self.iou().tolist()}
