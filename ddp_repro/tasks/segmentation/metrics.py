"""Mean intersection over union and accuracies from the pixels of each class over the whole dataset.

The paper's mIoU (Tables 1 and 2) sums the pixels of all images before dividing; an average of per-image IoUs is another
quantity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IGNORE_INDEX = 255


class PixelCounts:
    """Base of what counts pixels by class; counts of disjoint images add up exactly.

    Attributes:
        rows: what is counted, by the name that it has in the statistics of images.
        counts: (R, K) int64 on the CPU, a row for each of ``rows``.
    """

    rows: tuple[str, ...]

    def __init__(self, num_classes: int) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        self.counts = torch.zeros(len(self.rows), num_classes, dtype=torch.int64)

    @property
    def num_classes(self) -> int:
        """Return how many classes are counted."""
        return self.counts.shape[1]

    def count(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return what the pixels of one image, or of a batch, add to :attr:`counts`.

        Raises:
            ValueError: shapes differ, or a value outside 0..K-1.
        """
        raise NotImplementedError

    def update(self, prediction: Tensor, label: Tensor) -> Self:
        """Count the pixels of one image or batch; see :meth:`count`."""
        self.counts += self.count(prediction, label)
        return self

    def image_statistics(self, prediction: Tensor, label: Tensor) -> dict[str, NDArray[np.int64]]:
        """Return what an image adds, (K,) by name, without counting it."""
        return dict(zip(self.rows, self.count(prediction, label).numpy(), strict=True))

    def add(self, statistics: Mapping[str, NDArray[Any]]) -> Self:
        """Count images by their statistics, (N, K) by name."""
        total = np.stack([statistics[name].sum(0, dtype=np.int64) for name in self.rows])
        self.counts += torch.from_numpy(total)
        return self

    def merge(self, other: Self) -> Self:
        """Add the counts of ``other`` to these.

        Raises:
            ValueError: another number of classes.
        """
        if other.num_classes != self.num_classes:
            raise ValueError(f"cannot merge counts of {self.num_classes} and {other.num_classes} classes")
        self.counts += other.counts
        return self

    def iou(self) -> Tensor:
        """(K,) float64 intersection over union; NaN for a class that is neither in the labels nor predicted."""
        return self.counts[0].double() / self.counts[1]  # 0 / 0 = NaN

    def _check_range(self, name: str, values: Tensor, ignored: int | None = None) -> None:
        if not values.numel():
            return
        low, high = (int(v) for v in torch.aminmax(values))
        if low < 0 or high >= self.num_classes:
            raise ValueError(
                f"{name} holds class {low if low < 0 else high}; expected 0..{self.num_classes - 1}"
                + (f" or {ignored} (ignored)" if ignored is not None else "")
            )


class ClassCounts(PixelCounts):
    """Pixels of each class: right ones, those predicted or labelled so, those labelled so.

    Args:
        num_classes: K.
        unscored: a class that predictions may have and the truth never has, such as "unlabelled", which is to be left
            out of the mean IoU; None: it counts there, with an IoU of 0 as soon as one pixel is predicted so.
        boundary: counts boundary pixels as well (:class:`ddp_repro.tasks.segmentation.boundary_iou.BoundaryIoU`).
    """

    rows = ("intersection", "union", "label")
    higher_is_better = True

    def __init__(self, num_classes: int, *, unscored: int | None = None, boundary: PixelCounts | None = None) -> None:
        super().__init__(num_classes)
        self.unscored, self.boundary = unscored, boundary

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the measures, the most important first."""
        return ("miou", "macc", "aacc", *(("mbiou",) if self.boundary else ()))

    def count(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return right pixels, predicted or labelled ones, and labelled ones of each class; (3, K).

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
        self._check_range("label", label, IGNORE_INDEX)
        self._check_range("prediction", prediction)
        pairs = torch.bincount(label * self.num_classes + prediction, minlength=self.num_classes**2)
        confusion = pairs.reshape(self.num_classes, self.num_classes).cpu()  # rows are the truth
        right, predicted, labelled = confusion.diagonal(), confusion.sum(0), confusion.sum(1)
        return torch.stack([right, predicted + labelled - right, labelled])

    def update(self, prediction: Tensor, label: Tensor) -> Self:
        """Count the pixels of one image or batch; see :meth:`count`."""
        if self.boundary:
            self.boundary.update(prediction, label)
        return super().update(prediction, label)

    def image_statistics(self, prediction: Tensor, label: Tensor) -> dict[str, NDArray[np.int64]]:
        """Return what an image adds, (K,) by name, without counting it."""
        edges = self.boundary.image_statistics(prediction, label) if self.boundary else {}
        return super().image_statistics(prediction, label) | edges

    def add(self, statistics: Mapping[str, NDArray[Any]]) -> Self:
        """Count images by their statistics, (N, K) by name."""
        if self.boundary:
            self.boundary.add(statistics)
        return super().add(statistics)

    def merge(self, other: Self) -> Self:
        """Add the counts of ``other``, boundary pixels too, to these.

        Raises:
            ValueError: another number of classes.
        """
        if self.boundary and other.boundary:
            self.boundary.merge(other.boundary)
        return super().merge(other)

    def accuracy(self) -> Tensor:
        """(K,) float64 recall of each class; NaN for a class that is not in the labels."""
        return self.counts[0].double() / self.counts[2]

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur; NaN when nothing was counted."""
        return mean_over_classes(self.iou(), self.unscored)

    @property
    def macc(self) -> float:
        """Mean class accuracy over the classes in the labels."""
        return float(self.accuracy().nanmean())

    @property
    def aacc(self) -> float:
        """Fraction of all counted pixels that are right."""
        return float(self.counts[0].sum().double() / self.counts[2].sum())

    @property
    def mbiou(self) -> float:
        """Mean boundary IoU over the classes that have a boundary; NaN where none has, or none was counted."""
        labelled = bool(self.counts[2].any())  # or predicted boundaries on ignored pixels would make it 0
        return float(self.boundary.iou().nanmean()) if self.boundary and labelled else math.nan

    def value(self, metric: str) -> float:
        """One of :attr:`metrics`, as a fraction."""
        return getattr(self, metric)

    def to_dict(self) -> dict[str, Any]:
        """All measures, JSON-ready up to NaN."""
        per_class = {"iou": self.iou().tolist(), "accuracy": self.accuracy().tolist()}
        return {metric: self.value(metric) for metric in self.metrics} | per_class


def mean_over_classes(scores: Tensor, left_out: int | None = None) -> float:
    """Return the mean of per-class scores (K,), NaN left out, and class ``left_out`` too.

    A model that may predict "unlabelled", which the truth never has, gets an IoU of 0 for it as soon as one pixel is
    predicted so.  The evaluation that was released with DDPS keeps that 0 in the mean; leaving the class out is the
    mean over those that exist.
    """
    chosen = torch.arange(len(scores)) != left_out if left_out is not None else slice(None)
    return float(scores[chosen].nanmean())
