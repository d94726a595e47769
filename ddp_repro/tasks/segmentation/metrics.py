"""Mean intersection over union and accuracies from one confusion matrix over the whole dataset.

The paper's mIoU (Tables 1 and 2) sums the pixels of all images before dividing; an average of per-image IoUs is another
quantity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

IGNORE_INDEX = 255


class ConfusionMatrix:
    """Pixel counts of (true class, predicted class); counts of disjoint images add up exactly.

    Attributes:
        counts: (K, K) int64 on the CPU; rows are the truth, columns the prediction.
    """

    metrics: tuple[str, ...] = ("miou", "macc", "aacc")
    higher_is_better = True

    def __init__(self, num_classes: int) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)

    @property
    def num_classes(self) -> int:
        """Number K of classes."""
        return self.counts.shape[0]

    def update(self, prediction: Tensor, label: Tensor) -> ConfusionMatrix:
        """Count the pixels of one image or batch.

        Args:
            prediction: integer class of each pixel, 0..K-1, any shape.
            label: true class of each pixel, same shape and device; 255 is ignored (whatever was predicted there).

        Raises:
            ValueError: shapes differ, or a value outside 0..K-1.
        """
        if prediction.shape != label.shape:
            raise ValueError(f"prediction has shape {tuple(prediction.shape)}, label {tuple(label.shape)}")
        valid = label != IGNORE_INDEX
        label, prediction = label[valid].long(), prediction[valid].long()
        self._check_range("label", label)
        self._check_range("prediction", prediction)
        pairs = label * self.num_classes + prediction
        counts = torch.bincount(pairs, minlength=self.num_classes**2)
        self.counts += counts.reshape(self.counts.shape).cpu()
        return self

    def _check_range(self, name: str, values: Tensor) -> None:
        if not values.numel():
            return
        low, high = (int(v) for v in torch.aminmax(values))
        if low < 0 or high >= self.num_classes:
            raise ValueError(
                f"{name} holds class {low if low < 0 else high}; expected 0..{self.num_classes - 1}"
                + (" or 255 (ignored)" if name == "label" else "")
            )

    def merge(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """Add the counts of ``other`` to these.

        Raises:
            ValueError: another number of classes.
        """
        if other.num_classes != self.num_classes:
            raise ValueError(f"cannot merge confusion matrices of {self.num_classes} and {other.num_classes} classes")
        self.counts += other.counts
        return self

    def iou(self) -> Tensor:
        """(K,) float64 intersection over union; NaN for a class that is neither in the labels nor predicted."""
        intersection, union = self.counts.diagonal(), self.counts.sum(0) + self.counts.sum(1) - self.counts.diagonal()
        return intersection.double() / union  # 0 / 0 = NaN

    def accuracy(self) -> Tensor:
        """(K,) float64 recall of each class; NaN for a class that is not in the labels."""
        return self.counts.diagonal().double() / self.counts.sum(1)

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur; NaN when nothing was counted."""
        return float(self.iou().nanmean())

    @property
    def macc(self) -> float:
        """Mean class accuracy over the classes in the labels."""
        return float(self.accuracy().nanmean())

    @property
    def aacc(self) -> float:
        """Fraction of all counted pixels that are right."""
        return float(self.counts.diagonal().sum().double() / self.counts.sum())

    def value(self, metric: str) -> float:
        """One of :attr:`metrics`, as a fraction."""
        return getattr(self, metric)

    def reduce(self, combine: Callable[[Tensor], Tensor]) -> None:
        """Replace the counts, e.g. by their sum over processes."""
        self.counts = combine(self.counts)

    def to_dict(self) -> dict[str, Any]:
        """All measures, JSON-ready up to NaN."""
        per_class = {"iou": self.iou().tolist(), "accuracy": self.accuracy().tolist()}
        return {metric: self.value(metric) for metric in self.metrics} | per_class

    def to_list(self) -> list[list[int]]:
        """Return the counts as JSON-ready rows."""
        return self.counts.tolist()

    @classmethod
    def from_list(cls, rows: Sequence[Sequence[int]]) -> ConfusionMatrix:
        """Rebuild a matrix from :meth:`to_list`.

        Raises:
            ValueError: not a square of non-negative integers.
        """
        integers = all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for row in rows for v in row)
        if not integers or any(len(row) != len(rows) for row in rows):
            raise ValueError("a confusion matrix is a square of non-negative integers")
        matrix = cls(len(rows))
        matrix.counts = torch.tensor(rows, dtype=torch.int64)
        return matrix
