"""The usual measures of a depth map (Eigen et al. 2014): each image's own, averaged over images (Tables 4, 6 and 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
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
        prediction, truth: d and d* of the counted pixels, metres, greater than 0, both (N,).
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
    """Sums of the images' measures under one protocol; those of disjoint images add up.

    Attributes:
        sums: (10,) float64 on the CPU; the measures of :data:`METRICS`, and the number of images.
    """

    metrics: tuple[str, ...] = METRICS
    higher_is_better = False  # of the first

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.sums = torch.zeros(len(METRICS) + 1, dtype=torch.float64)

    def update(self, prediction: Tensor, truth: Tensor) -> DepthErrors:
        """Measure one image.

        Args:
            prediction: metres, (H, W).
            truth: metres, (H, W) on the same device; 0 = no measurement.

        Raises:
            ValueError: shapes differ, a prediction that is not finite, or no pixel that counts.
        """
        if prediction.shape != truth.shape or truth.dim() != 2:
            raise ValueError(f"prediction has shape {tuple(prediction.shape)}, depth {tuple(truth.shape)}")
        if not prediction.isfinite().all():
            raise ValueError("the predicted depth is not finite")
        valid = self.protocol.valid(truth)
        if not valid.any():
            raise ValueError(f"no pixel has a depth that the protocol {self.protocol.name} counts")
        clamped = prediction[valid].clamp(self.protocol.min_depth, self.protocol.max_depth)
        errors = depth_errors(clamped.cpu(), truth[valid].cpu())
        self.sums += torch.cat([errors, torch.ones(1, dtype=torch.float64)])
        return self

    def merge(self, other: DepthErrors) -> DepthErrors:
        """Add the images of ``other``.

        Raises:
            ValueError: another protocol.
        """
        if other.protocol != self.protocol:
            raise ValueError(f"cannot merge measures of {self.protocol.name} and {other.protocol.name}")
        self.sums += other.sums
        return self

    def reduce(self, combine: Callable[[Tensor], Tensor]) -> None:
        """Replace the sums, e.g. by those over all processes."""
        self.sums = combine(self.sums)

    def to_dict(self) -> dict[str, Any]:
        """All measures, JSON-ready up to NaN."""
        return {metric: self.value(metric) for metric in self.metrics}

    @property
    def images(self) -> int:
        """Number of images measured."""
        return int(self.sums[-1])

    def value(self, metric: str) -> float:
        """Mean of a measure over the images; NaN where there are none."""
        return float(self.sums[METRICS.index(metric)] / self.sums[-1])
