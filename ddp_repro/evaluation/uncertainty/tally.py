"""Right and wrong pixels by uncertainty, over the images of a dataset and the processes that share them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ddp_repro.evaluation.measure import or_none
from ddp_repro.evaluation.processes import sum_over_processes
from ddp_repro.evaluation.uncertainty.calibration import CalibrationHistogram
from ddp_repro.evaluation.uncertainty.error_detection import DetectionScores, ErrorHistogram

MEASURES = DetectionScores._fields
CONFIDENCES = ("step_average", "last_step")  # whose calibration is measured


@dataclass(frozen=True, kw_only=True)
class UncertaintyResult:
    """How well uncertainty scores find the errors of a dataset.

    Attributes:
        images: pictures, or samples of a drive.
        errors: per score, right and wrong pixels of all images by uncertainty.
        per_image: per score and measure of :class:`DetectionScores`, a value per image (NaN where undefined).
        calibration: of the averaged probabilities ("step_average") and of the last step's ("last_step").
        noise_samples, seed: draws of the start noise, and where they come from; None without noise.
    """

    dataset: str
    dataset_fingerprint: str
    images: int
    steps: int
    noise_samples: int
    seed: int | None
    errors: dict[str, ErrorHistogram]
    per_image: dict[str, dict[str, list[float]]]
    calibration: dict[str, CalibrationHistogram]
    seconds: float

    @property
    def error_rate(self) -> float:
        """Fraction of wrong pixels: chance level of the average precision."""
        return next(iter(self.errors.values())).error_rate

    def scores(self) -> dict[str, DetectionScores]:
        """Measures over the pixels of the whole dataset, per uncertainty score."""
        return {name: histogram.scores() for name, histogram in self.errors.items()}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; undefined numbers (NaN) become null."""
        return {
            "dataset": self.dataset,
            "dataset_fingerprint": self.dataset_fingerprint,
            "images": self.images,
            "steps": self.steps,
            "noise_samples": self.noise_samples,
            "seed": self.seed,
            "error_rate": or_none(self.error_rate),
            "scores": {name: self._score_to_dict(name) for name in self.errors},
            "calibration": {name: histogram.to_dict() for name, histogram in self.calibration.items()},
            "seconds": self.seconds,
        }

    def _score_to_dict(self, name: str) -> dict[str, Any]:
        coverage, risk = self.errors[name].risk_coverage()
        return {
            "dataset": {measure: or_none(value) for measure, value in self.errors[name].scores()._asdict().items()},
            "per_image": {measure: _spread(values) for measure, values in self.per_image[name].items()},
            "risk_coverage": {"coverage": coverage, "risk": risk},
        }


class UncertaintyTally:
    """Counts over the images of this process, then of all.

    Attributes:
        errors: of all images so far, by score; calibration: by :data:`CONFIDENCES`.
    """

    def __init__(self, scores: Iterable[str], images: int) -> None:
        self.errors = {name: ErrorHistogram() for name in scores}
        self.calibration = {name: CalibrationHistogram() for name in CONFIDENCES}
        # Rows of images of other processes stay zero, so that a sum over processes puts all together.
        self._values = torch.zeros(images, len(self.errors), len(MEASURES), dtype=torch.float64)

    def add(self, index: int, scores: Mapping[str, Tensor], wrong: Tensor) -> None:
        """Count an image.

        Args:
            scores: uncertainty in [0, 1] by name, any shape; wrong: bool, of that shape.
        """
        for row, name in enumerate(self.errors):
            own = ErrorHistogram().update(scores[name], wrong)
            self.errors[name].merge(own)
            self._values[index, row] = torch.tensor(own.scores(), dtype=torch.float64)

    def add_confidence(self, name: str, confidence: Tensor, right: Tensor) -> None:
        """Count an image's confidences in [0, 1], and whether each is right (bool), under one of the names."""
        self.calibration[name].update(confidence, right)

    def sum_over_processes(self, device: torch.device) -> None:
        """Add what the other processes have counted."""
        for histogram in (*self.errors.values(), *self.calibration.values()):
            histogram.counts = sum_over_processes(histogram.counts, device)
        self._values = sum_over_processes(self._values, device)

    def per_image(self) -> dict[str, dict[str, list[float]]]:
        """Return a value per image, by score and measure."""
        return {
            name: dict(zip(MEASURES, self._values[:, row].T.tolist(), strict=True))
            for row, name in enumerate(self.errors)
        }


def _spread(values: list[float]) -> dict[str, float | int | None]:
    """Mean and sample deviation over the images where the measure is defined, and their number."""
    defined = torch.tensor([value for value in values if not math.isnan(value)], dtype=torch.float64)
    std = float(defined.std()) if len(defined) > 1 else None
    return {"mean": float(defined.mean()) if len(defined) else None, "std": std, "images": len(defined)}
