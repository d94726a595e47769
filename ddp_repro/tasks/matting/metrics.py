"""Measures of alpha mattes (Rhemann et al. 2009) as P3M's evaluation defines them: SAD, MAD, MSE, GRAD and CONN.

scipy and scikit-image come with the ``genpercept`` extra and are imported where they are used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddp_repro.settings.errors import ConfigError

METRICS = ("sad", "mad", "mse", "grad", "conn")
BACKGROUND, UNKNOWN, FOREGROUND = 0, 128, 255  # values of a trimap
GRADIENT_SIGMA = 1.4
GRADIENT_DIVISOR = 10.0  # one of P3M's scripts divides by 10, another does not
CONNECTIVITY_STEP, CONNECTIVITY_THRESHOLD = 0.1, 0.15

Alpha = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


def unknown_region(trimap: NDArray[np.integer[Any]]) -> Mask:
    """Return where a trimap is unknown, bool, (H, W).

    Raises:
        ValueError: values other than 0, 128 and 255, or no unknown pixel.
    """
    values = set(np.unique(trimap).tolist())
    if not values <= {BACKGROUND, UNKNOWN, FOREGROUND}:
        strange = sorted(values - {BACKGROUND, UNKNOWN, FOREGROUND})[:5]
        raise ValueError(f"a trimap holds 0, 128 and 255; this one has {strange}")
    if UNKNOWN not in values:
        raise ValueError("the trimap has no unknown pixel")
    return trimap == UNKNOWN


def absolute_error(prediction: Alpha, alpha: Alpha, region: Mask | None = None) -> float:
    """Return SAD: the sum of |prediction - alpha|, in thousands."""
    return float(np.abs(prediction - alpha)[_slot(region)].sum() / 1000)


def mean_absolute_error(prediction: Alpha, alpha: Alpha, region: Mask | None = None) -> float:
    """Return MAD: the mean of |prediction - alpha|."""
    return float(np.abs(prediction - alpha)[_slot(region)].mean())


def mean_squared_error(prediction: Alpha, alpha: Alpha, region: Mask | None = None) -> float:
    """Return MSE: the mean of (prediction - alpha)²."""
    return float(np.square(prediction - alpha)[_slot(region)].mean())


def gradient_error(
    prediction: Alpha, alpha: Alpha, region: Mask | None = None, divisor: float = GRADIENT_DIVISOR
) -> float:
    """Return GRAD: the sum of the squared difference of the gradient magnitudes, over ``divisor``.

    Gradients are by the first derivatives of a Gaussian of deviation 1.4.
    """
    difference = _gradient_magnitude(prediction) - _gradient_magnitude(alpha)
    return float(np.square(difference)[_slot(region)].sum() / divisor)


def connectivity_error(
    prediction: Alpha, alpha: Alpha, region: Mask | None = None, step: float = CONNECTIVITY_STEP
) -> float:
    """Return CONN: the sum of the difference in connectedness, in thousands.

    A pixel's level is the highest threshold up to which it belongs to the largest 4-connected component of the pixels
    that are at least as opaque in both mattes.  Its connectedness is 1 - d, d how far it is above its level, counted
    from 0.15 on.
    """
    level = _connection_level(prediction, alpha, step)
    difference = _connectedness(prediction - level) - _connectedness(alpha - level)
    return float(np.abs(difference)[_slot(region)].sum() / 1000)


@dataclass(frozen=True)
class ImageErrors:
    """One image's measures, in the order of :data:`METRICS`, and a name."""

    values: tuple[float, ...]
    name: str = ""


class MattingErrors:
    """The measures of a set's images; a set's score is the mean over images.

    Attributes:
        images: the statistics of every image, in order of arrival.
    """

    metrics: tuple[str, ...] = METRICS
    higher_is_better = False  # of the first

    def __init__(self, gradient_divisor: float = GRADIENT_DIVISOR) -> None:
        """Start with no image."""
        self.gradient_divisor = gradient_divisor
        self.images: list[ImageErrors] = []

    def update(
        self, prediction: Alpha, alpha: Alpha, trimap: NDArray[np.integer[Any]] | None = None, name: str = ""
    ) -> ImageErrors:
        """Measure one image, and return its statistics.

        Args:
            prediction, alpha: opacity in [0, 1], (H, W).
            trimap: (H, W) of 0, 128, 255: measure its unknown region alone; None: the whole image.

        Raises:
            ValueError: shapes differ, an opacity that is not finite or outside [0, 1], or a trimap of other values.
        """
        shapes = {np.shape(values) for values in (prediction, alpha, *(() if trimap is None else (trimap,)))}
        if len(shapes) != 1 or np.ndim(alpha) != 2:
            raise ValueError(f"mattes and trimap need one shape (H, W), got {sorted(shapes)}")
        prediction, alpha = _checked(prediction, "prediction"), _checked(alpha, "alpha")
        region = None if trimap is None else unknown_region(np.asarray(trimap))
        values = (
            absolute_error(prediction, alpha, region),
            mean_absolute_error(prediction, alpha, region),
            mean_squared_error(prediction, alpha, region),
            gradient_error(prediction, alpha, region, self.gradient_divisor),
            connectivity_error(prediction, alpha, region),
        )
        self.images.append(ImageErrors(values, name))
        return self.images[-1]

    def merge(self, tally: MattingErrors) -> MattingErrors:
        """Append the images of ``tally``.

        Raises:
            ValueError: another divisor of the gradient error.
        """
        if tally.gradient_divisor != self.gradient_divisor:
            raise ValueError("cannot merge gradient errors of two divisors")
        self.images += tally.images
        return self

    def add(self, statistics: Mapping[str, NDArray[Any]]) -> MattingErrors:
        """Count images by their statistics: "measures", (N, 5)."""
        self.images += [ImageErrors(tuple(map(float, values))) for values in statistics["measures"]]
        return self

    def value(self, metric: str) -> float:
        """Return a measure's mean over the images.

        Raises:
            ValueError: no image yet, or no such measure.
        """
        if not self.images:
            raise ValueError("no image was measured")
        index = METRICS.index(metric)
        return math.fsum(image.values[index] for image in self.images) / len(self.images)

    def to_dict(self) -> dict[str, float]:
        """Return the means of all measures."""
        return {metric: self.value(metric) for metric in METRICS}


def _checked(values: Alpha, kind: str) -> NDArray[np.float64]:
    values = np.asarray(values, dtype=np.float64)
    if not values.size or not np.isfinite(values).all():
        raise ValueError(f"the {kind} is empty or not finite")
    if values.min() < 0 or values.max() > 1:
        raise ValueError(f"the {kind} spans {values.min():.4g} to {values.max():.4g}; opacity is in [0, 1]")
    return values


def _slot(region: Mask | None) -> Any:
    return ... if region is None else region


def _gradient_magnitude(alpha: Alpha) -> NDArray[np.float64]:
    try:
        from scipy.ndimage import gaussian_filter
    except ImportError as error:
        raise ConfigError("GRAD needs scipy: uv sync --extra genpercept") from error
    along: list[Any] = [(1, 0), (0, 1)]  # one order an axis, which scipy takes but does not declare
    vertical, horizontal = (
        gaussian_filter(np.asarray(alpha, np.float64), GRADIENT_SIGMA, order=axes) for axes in along
    )
    return np.hypot(vertical, horizontal)


def _connection_level(prediction: Alpha, alpha: Alpha, step: float) -> NDArray[np.float64]:
    try:
        from skimage.measure import label
    except ImportError as error:
        raise ConfigError("CONN needs scikit-image: uv sync --extra genpercept") from error
    level = np.ones(np.shape(alpha))
    undecided = np.ones(np.shape(alpha), bool)
    thresholds = np.arange(0, 1 + step, step)
    for below, threshold in pairwise(thresholds):
        components = np.asarray(label((prediction >= threshold) & (alpha >= threshold), connectivity=1))
        sizes = np.bincount(components.ravel())[1:]
        connected = components == 1 + sizes.argmax() if len(sizes) else np.zeros_like(undecided)
        leaves = undecided & ~connected
        level[leaves] = below
        undecided &= ~leaves
    return level


def _connectedness(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 - distance * (distance >= CONNECTIVITY_THRESHOLD)
