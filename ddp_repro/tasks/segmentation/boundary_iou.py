"""Boundary IoU (Cheng et al. 2021), summed over a data set.

The boundary of a class is its mask without the mask eroded d times by a 3×3 square, d = 2 % of the image's diagonal,
where everything outside the image counts as another class.  So a pixel is on its class's boundary unless all pixels of
the (2d + 1)² square around it are in the image and of its class: one map serves all classes, and no array holds a mask
per class.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.tasks.segmentation.metrics import IGNORE_INDEX, PixelCounts

RATIO = 0.02


def erosions(height: int, width: int, ratio: float = RATIO) -> int:
    """Return d, the width of a boundary in pixels: ``ratio`` of the diagonal, at least 1."""
    return max(1, round(ratio * math.hypot(height, width)))


def boundary(labels: Tensor, ratio: float = RATIO) -> Tensor:
    """Return which pixels lie on the boundary of the class that they have.

    Args:
        labels: (H, W), integers; an ignored label is a class like any other.
        ratio: width of the boundary in units of the diagonal.

    Returns:
        (H, W), boolean.
    """
    height, width = labels.shape
    d = erosions(height, width, ratio)
    on_boundary = torch.ones(height, width, dtype=torch.bool, device=labels.device)
    if min(height, width) > 2 * d:
        across = _box_sums(labels[:, 1:] != labels[:, :-1], 2 * d + 1, 2 * d)  # (H - 2d, W - 2d)
        down = _box_sums(labels[1:] != labels[:-1], 2 * d, 2 * d + 1)
        on_boundary[d : height - d, d : width - d] = (across + down) > 0
    return on_boundary


def _box_sums(edges: Tensor, rows: int, columns: int) -> Tensor:
    """How many of ``edges`` (H, W) lie in each box of ``rows`` × ``columns``; (H - rows + 1, W - columns + 1)."""
    corner = F.pad(edges.cumsum(0, dtype=torch.int32).cumsum(1, dtype=torch.int32), (1, 0, 1, 0))  # (H + 1, W + 1)
    return corner[rows:, columns:] - corner[:-rows, columns:] - corner[rows:, :-columns] + corner[:-rows, :-columns]


class BoundaryIoU(PixelCounts):
    """Boundary pixels of each class, in both maps and in either; counts of disjoint images add up exactly.

    Args:
        num_classes: K.
        ignore_index: label of pixels without truth.
        unscored: a class that predictions may have and that has no score, such as "unlabelled"; None: ``ignore_index``,
            where it is one of 0..K-1.
        mask_ignored: leave out what is predicted on ignored pixels.  The released code counts it.

    Attributes:
        counts: (2, K) int64 on the CPU: boundary pixels in both maps, and in either.
    """

    rows = ("boundary_intersection", "boundary_union")
    metrics: tuple[str, ...] = ("mbiou",)
    higher_is_better = True

    def __init__(
        self,
        num_classes: int,
        *,
        ignore_index: int = IGNORE_INDEX,
        unscored: int | None = None,
        mask_ignored: bool = False,
        ratio: float = RATIO,
    ) -> None:
        super().__init__(num_classes)
        self.ignore_index, self.mask_ignored, self.ratio = ignore_index, mask_ignored, ratio
        self.unscored = ignore_index if unscored is None else unscored

    def count(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return the boundary pixels of each class in both maps and in either, (2, K), of one image or of a batch.

        Args:
            prediction: class of every pixel, (H, W) or (B, H, W), 0..K-1; on ignored pixels also none of these.
            label: true class, same shape and device; :attr:`ignore_index` has none.

        Raises:
            ValueError: shapes differ or are no maps, or a value outside 0..K-1.
        """
        if prediction.shape != label.shape or prediction.dim() not in (2, 3):
            raise ValueError(
                f"prediction has shape {tuple(prediction.shape)}, label {tuple(label.shape)}; expected two maps "
                "(H, W), or (B, H, W), of one shape"
            )
        maps = (x.long().reshape(-1, *x.shape[-2:]) for x in (prediction, label))
        images = [self._count_image(predicted, truth) for predicted, truth in zip(*maps, strict=True)]
        return torch.stack(images).sum(0)

    def _count_image(self, prediction: Tensor, label: Tensor) -> Tensor:
        valid = label != self.ignore_index
        self._check_range("label", label[valid], self.ignore_index)
        self._check_range("prediction", prediction[valid])
        is_class = (prediction >= 0) & (prediction < self.num_classes)  # where there is no truth, it may be anything
        predicted_edge, true_edge = boundary(prediction, self.ratio) & is_class, boundary(label, self.ratio) & valid
        if self.mask_ignored:
            predicted_edge &= valid
        both = predicted_edge & true_edge & (prediction == label)
        selected = (label[both], prediction[predicted_edge], label[true_edge])
        shared, predicted, true = (torch.bincount(x, minlength=self.num_classes).cpu() for x in selected)
        return torch.stack([shared, predicted + true - shared])

    def iou(self) -> Tensor:
        """(K,) float64 boundary IoU; NaN for a class without boundary pixels, and for the unscored one."""
        scores = super().iou()
        if 0 <= self.unscored < self.num_classes:
            scores[self.unscored] = torch.nan
        return scores

    @property
    def mbiou(self) -> float:
        """Mean boundary IoU over the classes that occur; NaN when nothing was counted."""
        return float(self.iou().nanmean())

    def value(self, metric: str) -> float:
        """One of :attr:`metrics`, as a fraction."""
        return getattr(self, metric)

    def to_dict(self) -> dict[str, Any]:
        """All measures, JSON-ready up to NaN."""
        return {"mbiou": self.mbiou, "biou": self.iou().tolist()}
