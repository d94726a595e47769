"""Measures of DIS5K (Qin et al. 2022) by PySODMetrics: maximal and weighted F, MAE, S, mean E and correction effort.

PySODMetrics comes with the ``genpercept`` extra and is imported where it is used.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddp_repro.settings.errors import ConfigError

METRICS = ("max_f", "weighted_f", "mae", "s", "mean_e", "hce")
BINARY_THRESHOLD = 127.5  # PySODMetrics: half of 255
AUTHORS_THRESHOLD = 128.0  # the HCE code of DIS5K's authors; differs where a grey map is exactly 128


@dataclass(frozen=True)
class ImageErrors:
    """One image's statistics.

    Attributes:
        f_curve, e_curve: F and E measure at the thresholds 255 down to 0, float64 (256,).
        weighted_f, mae, s: of the grey map.
        hce: clicks that would correct the binary map; None where it was not asked for.
        name: of the image.
    """

    f_curve: NDArray[np.float64]
    e_curve: NDArray[np.float64]
    weighted_f: float
    mae: float
    s: float
    hce: float | None
    name: str = ""


def correction_effort(
    prediction: NDArray[np.uint8], truth: NDArray[np.uint8], threshold: float = BINARY_THRESHOLD
) -> float:
    """Return the human correction effort (HCE): how many clicks it takes to turn the prediction into the truth.

    Both maps are binarised first; on binary maps PySODMetrics and the code of the data set's authors agree.

    Args:
        prediction, truth: 0 to 255, (H, W).
        threshold: foreground is above it: :data:`BINARY_THRESHOLD` or :data:`AUTHORS_THRESHOLD`.
    """
    measure = _library().HumanCorrectionEffortMeasure()
    measure.step(*(((values > threshold) * 255).astype(np.uint8) for values in (prediction, truth)))
    return float(measure.hces[-1])


class DichotomousErrors:
    """The measures of a set's images.

    maxF and mean E are taken, as published, of the curve that is the mean of all images' curves; the others are means
    over images.  A perfect map's mean E is 0.997, not 1: it is a property of the measure.

    Attributes:
        images: the statistics of every image, in order of arrival.
    """

    metrics: tuple[str, ...] = METRICS
    higher_is_better = True  # of the first

    def __init__(self, normalise: bool = True, effort: bool = True) -> None:
        """Start with no image.

        Args:
            normalise: stretch each prediction to [0, 1] by its minimum and maximum, as PySODMetrics does.
            effort: measure HCE too (seconds an image at full size).
        """
        self.normalise, self.effort = normalise, effort
        self.images: list[ImageErrors] = []

    def update(self, prediction: NDArray[np.uint8], truth: NDArray[np.uint8], name: str = "") -> ImageErrors:
        """Measure one image, and return its statistics.

        Args:
            prediction, truth: 0 to 255, uint8, (H, W).

        Raises:
            ValueError: shapes differ, or another type than uint8.
        """
        if prediction.shape != truth.shape or truth.ndim != 2:
            raise ValueError(f"prediction {prediction.shape} and mask {truth.shape}: want (H, W) twice")
        if prediction.dtype != np.uint8 or truth.dtype != np.uint8:
            raise ValueError(f"prediction {prediction.dtype} and mask {truth.dtype}: want uint8 from 0 to 255")
        library = _library()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Fmeasure announces a successor, which computes the same
            measures = [
                library.Fmeasure(),
                library.Emeasure(),
                library.WeightedFmeasure(),
                library.MAE(),
                library.Smeasure(),
            ]
        for measure in measures:
            measure.step(*self._inputs(prediction, truth), normalize=self.normalise)
        f, e, weighted, mae, s = (measure.get_results() for measure in measures)
        effort = correction_effort(prediction, truth) if self.effort else None
        self.images.append(
            ImageErrors(
                np.asarray(f["fm"]["curve"], np.float64),
                np.asarray(e["em"]["curve"], np.float64),
                float(weighted["wfm"]),
                float(mae["mae"]),
                float(s["sm"]),
                effort,
                name,
            )
        )
        return self.images[-1]

    def merge(self, tally: DichotomousErrors) -> DichotomousErrors:
        """Append the images of ``tally``.

        Raises:
            ValueError: measured otherwise.
        """
        if (tally.normalise, tally.effort) != (self.normalise, self.effort):
            raise ValueError("cannot merge measures that were normalised otherwise or lack the correction effort")
        self.images += tally.images
        return self

    def add(self, statistics: Mapping[str, NDArray[Any]]) -> DichotomousErrors:
        """Count images by their statistics: "f_curve" and "e_curve", (N, 256), and "measures", (N, 4)."""
        columns = (statistics[name] for name in ("f_curve", "e_curve", "measures"))
        for f_curve, e_curve, values in zip(*columns, strict=True):
            weighted, mae, s, effort = map(float, values)
            self.images.append(ImageErrors(f_curve, e_curve, weighted, mae, s, effort if self.effort else None))
        return self

    def to_dict(self) -> dict[str, float]:
        """Return the set's measures; HCE only where it was asked for.

        Raises:
            ValueError: no image yet.
        """
        if not self.images:
            raise ValueError("no image was measured")
        curves = [image.f_curve for image in self.images]
        values = {
            "max_f": max(map(_mean, zip(*curves, strict=True))),
            "weighted_f": _mean(image.weighted_f for image in self.images),
            "mae": _mean(image.mae for image in self.images),
            "s": _mean(image.s for image in self.images),
            "mean_e": _mean(value for image in self.images for value in image.e_curve),
        }
        if self.effort:
            values["hce"] = _mean(image.hce for image in self.images if image.hce is not None)
        return {metric: float(value) for metric, value in values.items()}

    def value(self, metric: str) -> float:
        """Return one of the set's measures."""
        return self.to_dict()[metric]

    def _inputs(self, prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
        if self.normalise:
            return prediction, truth
        return (
            prediction / 255,
            truth > BINARY_THRESHOLD,
        )  # without its normalisation the library takes floats and bools


def _mean(values: Iterable[float]) -> float:
    """Return the mean, rounded once, whatever the order."""
    numbers = [float(value) for value in values]
    return math.fsum(numbers) / len(numbers)


def _library() -> ModuleType:
    try:
        import py_sod_metrics
    except ImportError as error:
        raise ConfigError("DIS measures need pysodmetrics: uv sync --extra genpercept") from error
    return py_sod_metrics
