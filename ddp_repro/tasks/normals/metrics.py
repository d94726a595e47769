"""Angular errors of surface normals as DSINE measures them (Bae and Davison 2024), pooled over a set or per image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

THRESHOLDS = {"within_5": 5.0, "within_7_5": 7.5, "within_11_25": 11.25, "within_22_5": 22.5, "within_30": 30.0}
METRICS = ("mean", "median", "rmse", *THRESHOLDS)
STEP = 0.01  # degrees; all thresholds are multiples
STEPS = 18_001
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


def valid_errors(prediction: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the angular errors at the valid pixels, degrees, float32 (N,); see :meth:`NormalErrors.update`.

    Raises:
        ValueError: shapes differ, values not finite, true normals that are not unit vectors, or no valid pixel.
    """
    if prediction.shape != truth.shape or truth.dim() != 3 or len(truth) != 3:
        raise ValueError(f"predicted normals {tuple(prediction.shape)}, true {tuple(truth.shape)}: want (3, H, W)")
    length = truth.norm(dim=0)
    valid = length > 0 if valid is None else valid.bool().reshape(length.shape)
    if not valid.any():
        raise ValueError("no pixel has a valid normal")
    if not prediction[:, valid].isfinite().all():
        raise ValueError("predicted normals are not finite")
    if not ((length[valid] - 1).abs() <= LENGTH_TOLERANCE).all():
        raise ValueError("true normals are not unit vectors")
    return angular_error(prediction[None], truth[None])[0, 0][valid].float().cpu()


@dataclass(frozen=True)
class ImageErrors:
    """One image's measures (in the order of :data:`METRICS`), its valid pixels, and a name."""

    values: tuple[float, ...]
    pixels: int
    name: str = ""


class NormalErrors:
    """Angular errors of a set's images.

    DSINE pools all valid pixels of the set, so its median needs them all: 4 bytes a pixel stay in memory (NYU's 654
    images: 0.8 GB).  ``pooled=False`` is the variant that averages the images' measures, and keeps no pixel.

    Attributes:
        images: the statistics of every image, in order of arrival, under either variant.
    """

    metrics: tuple[str, ...] = METRICS
    higher_is_better = False  # of the first

    def __init__(self, pooled: bool = True) -> None:
        """Start with no image; ``pooled`` says over what :meth:`value` goes."""
        self.pooled = pooled
        self.images: list[ImageErrors] = []
        self._errors: list[Tensor] = []

    def update(self, prediction: Tensor, truth: Tensor, valid: Tensor | None = None, name: str = "") -> ImageErrors:
        """Measure one image, and return its statistics.

        Args:
            prediction: (3, H, W), of any length.
            truth: unit vectors in the same axes, (3, H, W).
            valid: bool, (H, W) or (1, H, W); None: where the truth is not the zero vector.

        Raises:
            ValueError: shapes differ, values not finite, true normals that are not unit vectors, or no valid pixel.
        """
        errors = valid_errors(prediction, truth, valid)
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
        return self

    def to_dict(self) -> dict[str, float]:
        """Return all measures.

        Raises:
            ValueError: no image yet.
        """
        if not self.images:
            raise ValueError("no image was measured")
        if self.pooled:
            values = normal_measures(torch.cat(self._errors))
        else:
            values = torch.tensor([image.values for image in self.images], dtype=torch.float64).mean(dim=0)
        return dict(zip(METRICS, values.tolist(), strict=True))

    def value(self, metric: str) -> float:
        """Return one measure: of all pixels, or the mean of the images' (see the class)."""
        return self.to_dict()[metric]


class PooledHistogram:
    """Angular errors pooled over a set by counts of errors in steps of :data:`STEP`, which stay small for any set.

    Mean, RMSE and shares below the thresholds are exact; the median is within half a step of the exact one.

    Attributes:
        counts: of errors in each step, int64 (18001,).
    """

    metrics: tuple[str, ...] = METRICS
    higher_is_better = False  # of the first

    def __init__(self) -> None:
        """Start with no image."""
        self.counts = np.zeros(STEPS, np.int64)
        self.sums: list[NDArray[np.float64]] = []

    def image_statistics(self, prediction: Tensor, truth: Tensor) -> dict[str, NDArray[Any]]:
        """Return an image's "histogram", (18001,), and its "sums", (2,), of errors and squared errors.

        Raises:
            ValueError: as :func:`valid_errors`.
        """
        empty = not truth.any()  # nothing to measure, and so nothing to add
        errors = np.zeros(0) if empty else valid_errors(prediction, truth).double().numpy()
        histogram = np.bincount((errors / STEP).astype(np.int64), minlength=STEPS)
        return {"histogram": histogram, "sums": np.array([math.fsum(errors), math.fsum(errors**2)])}

    def add(self, statistics: Mapping[str, NDArray[Any]]) -> PooledHistogram:
        """Count images by their statistics: "histogram" (N, 18001) and "sums" (N, 2)."""
        self.counts += statistics["histogram"].sum(axis=0)
        self.sums.extend(statistics["sums"])
        return self

    def to_dict(self) -> dict[str, float]:
        """Return all measures; NaN where there is no pixel."""
        pixels = int(self.counts.sum())
        if not pixels:
            return dict.fromkeys(METRICS, math.nan)
        below = np.cumsum(self.counts)
        middle = [int(np.searchsorted(below, rank, side="right")) for rank in ((pixels - 1) // 2, pixels // 2)]
        total, squares = (math.fsum(column) for column in zip(*self.sums, strict=True))
        shares = [100 * int(self.counts[: round(limit / STEP)].sum()) / pixels for limit in THRESHOLDS.values()]
        values = [total / pixels, STEP * (sum(middle) / 2 + 0.5), math.sqrt(squares / pixels), *shares]
        return dict(zip(METRICS, values, strict=True))

    def value(self, metric: str) -> float:
        """Return one measure over all pixels."""
        return self.to_dict()[metric]
