"""Ten measures of an affine-invariant depth map after least-squares alignment, and the benchmarks' protocols.

Each image is aligned by itself, clipped to the benchmark's range and measured; a set's score is the mean over images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddp_repro.tasks.affine_depth.alignment import Alignment, Space, TooFewPixels, fit_alignment
from ddp_repro.tasks.depth.metrics import METRICS as METRIC_DEPTH_METRICS
from ddp_repro.tasks.depth.metrics import depth_errors

METRICS = (*METRIC_DEPTH_METRICS, "i_rmse")


@dataclass(frozen=True)
class AffineProtocol:
    """How a benchmark aligns and clips.

    Attributes:
        name: of the benchmark.
        min_depth, max_depth: metres; truths beyond are not counted, aligned predictions are clipped to them.
        max_resolution: longer side of the maps that the alignment is fitted on (None: all pixels).
    """

    name: str
    min_depth: float
    max_depth: float
    max_resolution: int | None = None

    def valid(self, truth: Tensor) -> Tensor:
        """Return which pixels of a metric depth count, before any mask or crop of the data set; bool, shaped alike."""
        return (truth > self.min_depth) & (truth < self.max_depth)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        AffineProtocol("nyu", 1e-3, 10.0),
        AffineProtocol("kitti", 1e-5, 80.0),
        AffineProtocol("scannet", 1e-3, 10.0),
        AffineProtocol("diode", 0.6, 350.0),
        AffineProtocol("eth3d", 1e-5, float("inf"), max_resolution=1024),
    )
}


@dataclass(frozen=True)
class ImageErrors:
    """One image's measures (in the order of :data:`METRICS`), the alignment they were taken under, and a name."""

    values: tuple[float, ...]
    alignment: Alignment
    name: str = ""


def affine_depth_errors(aligned: Tensor, truth: Tensor) -> Tensor:
    """Return the measures of :data:`METRICS`: those of metric depth, and the RMSE of 1/d in 1/metres; float64 (10,).

    Args:
        aligned, truth: metres, greater than 0, of the counted pixels, (N,).
    """
    inverse = (1 / aligned.double() - 1 / truth.double()).square().mean().sqrt()
    return torch.cat([depth_errors(aligned, truth), inverse[None]])


class AffineDepthErrors:
    """The measures of a set's images under one protocol.

    Attributes:
        images: the statistics of every image that has something to measure, in order of arrival.
        empty: number of the images that have not; they count for no mean.
    """

    metrics: tuple[str, ...] = METRICS
    higher_is_better = False  # of the first

    def __init__(self, protocol: AffineProtocol, space: Space = "depth", width_only: bool = False) -> None:
        """Start with no image.

        Args:
            protocol: range and resolution of the alignment.
            space: of the predictions: depth, or disparity.
            width_only: subsample columns alone for the alignment, as the released evaluation does.
        """
        self.protocol, self.width_only = protocol, width_only
        self.space: Space = space
        self.images: list[ImageErrors] = []
        self.empty = 0

    def update(self, prediction: Tensor, truth: Tensor, valid: Tensor | None = None, name: str = "") -> ImageErrors:
        """Align, measure and count one image, and return its statistics; see :meth:`measure`."""
        self.images.append(self.measure(prediction, truth, valid, name))
        return self.images[-1]

    def image_statistics(self, prediction: Tensor, truth: Tensor) -> dict[str, NDArray[Any]]:
        """Return an image's "measures", (10,), and its "alignment", (3,): scale, shift, pixels; without counting it.

        Both are NaN where fewer than two pixels count.
        """
        try:
            image = self.measure(prediction, truth)
        except TooFewPixels:
            return {"measures": np.full(len(METRICS), np.nan), "alignment": np.full(3, np.nan)}
        fit = (image.alignment.scale, image.alignment.shift, image.alignment.pixels)
        return {"measures": np.array(image.values), "alignment": np.array(fit, np.float64)}

    def add(self, statistics: Mapping[str, NDArray[Any]]) -> AffineDepthErrors:
        """Count images by their statistics: "measures" (N, 10) and "alignment" (N, 3)."""
        for values, (scale, shift, pixels) in zip(statistics["measures"], statistics["alignment"], strict=True):
            if np.isnan(pixels):
                self.empty += 1
                continue
            alignment = Alignment(float(scale), float(shift), self.space, int(pixels))
            self.images.append(ImageErrors(tuple(map(float, values)), alignment))
        return self

    def measure(self, prediction: Tensor, truth: Tensor, valid: Tensor | None = None, name: str = "") -> ImageErrors:
        """Align and measure one image without counting it.

        Args:
            prediction: affine-invariant, (H, W).
            truth: metres, (H, W).
            valid: bool, (H, W): mask and crop of the data set, in addition to the protocol's range.

        Raises:
            ValueError: shapes differ, values not finite, or fewer than two pixels that count.
        """
        counted = self.protocol.valid(truth)
        if valid is not None:
            counted = counted & valid.bool()
        alignment = fit_alignment(
            prediction,
            truth,
            counted,
            space=self.space,
            max_resolution=self.protocol.max_resolution,
            width_only=self.width_only,
        )
        aligned = alignment.apply(prediction)[counted].clamp(self.protocol.min_depth, self.protocol.max_depth)
        errors = affine_depth_errors(aligned.cpu(), truth[counted].cpu())
        if not errors.isfinite().all():
            raise ValueError("the aligned depth is not finite at the counted pixels")
        return ImageErrors(tuple(errors.tolist()), alignment, name)

    def merge(self, tally: AffineDepthErrors) -> AffineDepthErrors:
        """Append the images of ``tally``.

        Raises:
            ValueError: another protocol or space.
        """
        if (tally.protocol, tally.space, tally.width_only) != (self.protocol, self.space, self.width_only):
            raise ValueError(f"cannot merge measures of {self.protocol.name} and {tally.protocol.name}")
        self.images += tally.images
        return self

    def value(self, metric: str) -> float:
        """Return a measure's mean over the images; NaN without an image.

        Raises:
            ValueError: no such measure.
        """
        index = METRICS.index(metric)
        if not self.images:
            return math.nan
        return math.fsum(image.values[index] for image in self.images) / len(self.images)

    def to_dict(self) -> dict[str, float]:
        """Return the means of all measures."""
        return {metric: self.value(metric) for metric in METRICS}
