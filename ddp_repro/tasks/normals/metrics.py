"""Angular errors of surface normals as DSINE measures them (Bae and Davison 2024), pooled over a set or per image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ddp_repro.tasks.per_image import ImageMeasures, NothingToMeasure, mean

THRESHOLDS = {"within_5": 5.0, "within_7_5": 7.5, "within_11_25": 11.25, "within_22_5": 22.5, "within_30": 30.0}
METRICS = ("mean", "median", "rmse", *THRESHOLDS)
BINS_A_DEGREE = 100  # of the histogram that stands for an image's pixels
BINS = 180 * BINS_A_DEGREE
LENGTH_TOLERANCE = 0.01  # a truth stored in 8 bits is off by up to 0.7 %


def angular_error(prediction: Tensor, truth: Tensor) -> Tensor:
    """Return the angle between normals, degrees, (B, 1, H, W), in the precision of the arguments, as DSINE does.

    In float32 the arc cosine rounds an angle below 1 degree by up to 0.02 degrees; float64 arguments avoid that.

    Args:
        prediction, truth: (B, 3, H, W) of any length; a vector of length 0 counts as 90 degrees.
    """
    cosine = F.cosine_similarity(prediction, truth, dim=1)
    return cosine.clamp(-1, 1).acos().rad2deg().unsqueeze(1)


def normal_measures(errors: Tensor) -> Tensor:
    """Return the measures of :data:`METRICS`: mean, median and RMSE in degrees, then % of pixels below the thresholds.

    The median of an even number of pixels is the mean of the middle two.

    Args:
        errors: degrees, (N,), N > 0.

    Returns:
        (8,) float64.
    """
    ordered = errors.double().sort().values
    count = len(ordered)
    median = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    below = [100 * (ordered < limit).double().mean() for limit in THRESHOLDS.values()]
    return torch.stack([ordered.mean(), median, ordered.square().mean().sqrt(), *below])


@dataclass(frozen=True)
class ImageErrors:
    """One image's measures (in the order of :data:`METRICS`), its valid pixels, and a name."""

    values: tuple[float, ...]
    pixels: int
    name: str = ""


class NormalErrors(ImageMeasures):
    """Angular errors of a set's images.

    DSINE pools all valid pixels of the set, so its median needs them all: 4 bytes a pixel stay in memory (NYU's 654
    images: 0.8 GB).  Images that are counted by their statistics have a histogram of a hundredth of a degree in the
    pixels' place, between whose bins the median is interpolated; the other measures follow exactly.  ``pooled=False``
    is the variant that averages the images' measures, and keeps no pixel.

    Attributes:
        images: the statistics of every image, in order of arrival, under either variant.
    """

    metrics = METRICS
    higher_is_better = False  # of the first

    def __init__(self, pooled: bool = True) -> None:
        """Start with no image; ``pooled`` says over what :meth:`value` goes."""
        self.pooled = pooled
        self.images: list[ImageErrors] = []
        self._errors: list[Tensor] = []
        self._histogram = np.zeros(BINS, np.int64)

    def update(self, prediction: Tensor, truth: Tensor, valid: Tensor | None = None, name: str = "") -> ImageErrors:
        """Measure one image, and return its statistics.

        Args:
            prediction: (3, H, W), of any length.
            truth: unit vectors in the same axes, (3, H, W).
            valid: bool, (H, W) or (1, H, W); None: where the truth is not the zero vector.

        Raises:
            NothingToMeasure: no pixel is valid.
            ValueError: shapes differ, values not finite, or true normals that are not unit vectors.
        """
        if prediction.shape != truth.shape or truth.dim() != 3 or len(truth) != 3:
            raise ValueError(f"predicted normals {tuple(prediction.shape)}, true {tuple(truth.shape)}: want (3, H, W)")
        length = truth.norm(dim=0)
        valid = length > 0 if valid is None else valid.bool().reshape(length.shape)
        if not valid.any():
            raise NothingToMeasure("no pixel has a valid normal")
        if not prediction[:, valid].isfinite().all():
            raise ValueError("predicted normals are not finite")
        if not ((length[valid] - 1).abs() <= LENGTH_TOLERANCE).all():
            raise ValueError("true normals are not unit vectors")
        errors = angular_error(prediction[None], truth[None])[0, 0][valid].float().cpu()
        measures = tuple(normal_measures(errors).tolist())
        self.images.append(ImageErrors(measures, len(errors), name))
        if self.pooled:
            self._errors.append(errors)
        return self.images[-1]

    def merge(self, tally: NormalErrors) -> NormalErrors:
        """Append the images of ``tally``.

        Raises:
            ValueError: pooled with not pooled.
        """
        if tally.pooled != self.pooled:
            raise ValueError("cannot merge pooled errors and errors per image")
        self.images += tally.images
        self._errors += tally._errors
        self._histogram = self._histogram + tally._histogram
        return self

    def alone(self) -> Self:
        """Return a tally of the same settings without images."""
        tally = super().alone()
        tally._errors, tally._histogram = [], np.zeros(BINS, np.int64)
        return tally

    def image_statistics(self, prediction: Tensor, truth: Tensor) -> dict[str, NDArray[Any]]:
        """Return an image's "measures" (8,), "pixels" () and, where pooled, "histogram" (18000,), without counting it.

        Raises:
            ValueError: see :meth:`update`.
        """
        tally = self.alone()
        try:
            row = tally.row(tally.update(prediction, truth))
        except NothingToMeasure:
            row = self.blank()
        if self.pooled:
            row["histogram"] = _histogram(torch.cat([torch.empty(0), *tally._errors]))
        return {"measured": np.array(len(tally.images)), **row}

    def row(self, image: ImageErrors) -> dict[str, NDArray[Any]]:
        """Return an image's "measures" (8,) and "pixels" ()."""
        return {"measures": np.array(image.values), "pixels": np.array(image.pixels)}

    def image(self, row: Mapping[str, NDArray[Any]]) -> ImageErrors:
        """Return the image's statistics that :meth:`row` made arrays of, without the name."""
        return ImageErrors(tuple(row["measures"].tolist()), int(row["pixels"]))

    def blank(self) -> dict[str, NDArray[Any]]:
        """Return the row of an image that has nothing to measure: NaN."""
        return {"measures": np.full(len(METRICS), np.nan), "pixels": np.array(0)}

    def add(self, statistics: Mapping[str, NDArray[Any]]) -> Self:
        """Count images by their statistics, (N, ...) by name."""
        if self.pooled:
            self._histogram = self._histogram + statistics["histogram"].sum(0, dtype=np.int64)
        return super().add(statistics)

    def to_dict(self) -> dict[str, float]:
        """Return all measures; NaN without an image."""
        if not self.pooled:
            columns = zip(*(image.values for image in self.images), strict=True) if self.images else [()] * len(METRICS)
            return dict(zip(METRICS, map(mean, columns), strict=True))
        if self._errors and not self._histogram.any():
            return dict(zip(METRICS, normal_measures(torch.cat(self._errors)).tolist(), strict=True))
        return self._of_histogram()

    def _of_histogram(self) -> dict[str, float]:
        pixels = sum(image.pixels for image in self.images)
        powers = [2 if metric == "rmse" else 1 for metric in METRICS]
        sums = [
            math.fsum(image.pixels * image.values[column] ** power for image in self.images)
            for column, power in enumerate(powers)
        ]
        roots = zip(sums, powers, strict=True)
        means = [(total / pixels) ** (1 / power) if pixels else math.nan for total, power in roots]
        histogram = self._histogram + _histogram(torch.cat([torch.empty(0), *self._errors]))
        return dict(zip(METRICS, means, strict=True)) | {"median": _median(histogram)}

    def value(self, metric: str) -> float:
        """Return one measure: of all pixels, or the mean of the images' (see the class)."""
        return self.to_dict()[metric]


def _histogram(errors: Tensor) -> NDArray[np.int64]:
    bins = (errors.double() * BINS_A_DEGREE).long().clamp(max=BINS - 1)
    return torch.bincount(bins, minlength=BINS).numpy()


def _median(histogram: NDArray[np.int64]) -> float:
    """Return the median in degrees, interpolated within its bin; NaN without a pixel."""
    total = int(histogram.sum())
    if not total:
        return math.nan
    below = np.cumsum(histogram)
    middle = int(np.searchsorted(below, total / 2))
    before = below[middle] - histogram[middle]
    return float((middle + (total / 2 - before) / histogram[middle]) / BINS_A_DEGREE)
