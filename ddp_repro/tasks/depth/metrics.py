"""The usual measures of a depth map (Eigen et al. 2014): each image's own, averaged over images (Tables 4, 6 and 7)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddp_repro.tasks.depth.protocols import Protocol

METRICS = ("rel", "sq_rel", "rmse", "rmse_log", "log10", "silog", "delta1", "delta2", "delta3")
HIGHER_IS_BETTER = ("delta1", "delta2", "delta3")


def depth_errors(prediction: Tensor, truth: Tensor) -> Tensor:
    """Return the measures of :data:`METRICS`, in this order; float64 (9,).

    ======== =====================================================
    rel      mean of |d - d*| / d*
    sq_rel   mean of (d - d*)² / d*, metres
    rmse     root of the mean of (d - d*)², metres
    rmse_log root of the mean of g², g = ln d - ln d*
    log10    mean of |log₁₀ d - log₁₀ d*|
    silog    100 · root of the variance of g
    deltaN   fraction of pixels with max(d / d*, d* / d) < 1.25ᴺ
    ======== =====================================================

    Args:
        prediction, truth: d and d* of the counted pixels, metres, greater than 0, both (N,).  Without a pixel all
            measures are NaN.
    """
    d, truth = prediction.double(), truth.double()
    difference, g = d - truth, d.log() - truth.log()
    ratio = torch.maximum(d / truth, truth / d)
    variance = (g.square().mean() - g.mean().square()).clamp(min=0)  # rounding may leave it below 0
    errors = [
        (difference.abs() / truth).mean(),
        (difference.square() / truth).mean(),
        difference.square().mean().sqrt(),
        g.square().mean().sqrt(),
        (d.log10() - truth.log10()).abs().mean(),
        100 * variance.sqrt(),
    ]
    return torch.stack([*errors, *((ratio < 1.25**n).double().mean() for n in (1, 2, 3))])


class DepthErrors:
    """The images' measures under one protocol; a measure of a dataset is the mean over its images.

    An image without a pixel that counts has no measures, and is left out of the mean.

    Attributes:
        values: per image the measures of :data:`METRICS`, (9,) float64, NaN where no pixel counts.
    """

    metrics: tuple[str, ...] = METRICS
    higher_is_better = False  # of the first

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.values: list[NDArray[np.float64]] = []

    def update(self, prediction: Tensor, truth: Tensor) -> DepthErrors:
        """Measure one image; see :meth:`image_statistics`."""
        self.values.append(self.image_statistics(prediction, truth)["measures"])
        return self

    def image_statistics(self, prediction: Tensor, truth: Tensor) -> dict[str, NDArray[Any]]:
        """Return an image's measures without counting it.

        Beside "measures", (9,), are what measures over the pixels of all images need: "pixels", (), their number, and
        "log_bias", (), the mean of ln d - ln d*.  A mean over pixels of several images weighs the images' means by
        "pixels"; the means of the squares are the squares of rmse and rmse_log.

        Args:
            prediction: metres, (H, W).
            truth: metres, (H, W) on the same device; 0 = no measurement.

        Raises:
            ValueError: shapes differ, or a prediction that is not finite.
        """
        if prediction.shape != truth.shape or truth.dim() != 2:
            raise ValueError(f"prediction has shape {tuple(prediction.shape)}, depth {tuple(truth.shape)}")
        if not prediction.isfinite().all():
            raise ValueError("the predicted depth is not finite")
        valid = self.protocol.valid(truth)
        clamped = prediction[valid].clamp(self.protocol.min_depth, self.protocol.max_depth).cpu()
        truth = truth[valid].cpu()
        bias = (clamped.double().log() - truth.double().log()).mean()
        return {
            "measures": depth_errors(clamped, truth).numpy(),
            "pixels": np.array(len(truth)),
            "log_bias": bias.numpy(),
        }

    def add(self, statistics: Mapping[str, NDArray[Any]]) -> DepthErrors:
        """Count images by their statistics: "measures", (N, 9)."""
        self.values.extend(statistics["measures"])
        return self

    def merge(self, other: DepthErrors) -> DepthErrors:
        """Add the images of ``other``.

        Raises:
            ValueError: another protocol.
        """
        if other.protocol != self.protocol:
            raise ValueError(f"cannot merge measures of {self.protocol.name} and {other.protocol.name}")
        self.values += other.values
        return self

    def to_dict(self) -> dict[str, float]:
        """All measures, JSON-ready up to NaN."""
        return {metric: self.value(metric) for metric in self.metrics}

    @property
    def images(self) -> int:
        """Number of images seen."""
        return len(self.values)

    @property
    def measured(self) -> int:
        """Number of images that have measures."""
        return sum(not np.isnan(values[0]) for values in self.values)

    def value(self, metric: str) -> float:
        """Mean of a measure over the images that have it, rounded once, whatever their order; NaN where none has."""
        column = METRICS.index(metric)
        present = [float(values[column]) for values in self.values if not np.isnan(values[column])]
        return math.fsum(present) / len(present) if present else math.nan
