"""Expected calibration error: does a confidence of 80 % mean that 80 % of the pixels are right?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

CALIBRATION_BINS = 15
_UNIT = 1 << 24  # confidences are summed as integers, so that the sums of images add up exactly in any order


class CalibrationHistogram:
    """Pixels, right pixels and summed confidence per equal-width bin of confidence (Guo et al. 2017).

    Attributes:
        counts: int64 (3, 15) on the CPU: pixels, right pixels, confidence in units of 2^-24.
    """

    def __init__(self) -> None:
        self.counts = torch.zeros(3, CALIBRATION_BINS, dtype=torch.int64)

    def update(self, confidence: Tensor, right: Tensor) -> CalibrationHistogram:
        """Add pixels: confidence in [0, 1] and whether the label is right (bool), of the same shape."""
        confidence = confidence.double().flatten().cpu()
        bins = ((confidence * CALIBRATION_BINS).ceil() - 1).clamp(0, CALIBRATION_BINS - 1).long()
        for row, weight in zip(
            self.counts, (torch.ones_like(confidence), right.flatten().cpu(), confidence * _UNIT), strict=True
        ):
            row += torch.bincount(bins, weight.double().round(), CALIBRATION_BINS).long()
        return self

    def merge(self, other: CalibrationHistogram) -> CalibrationHistogram:
        """Add the pixels of ``other``."""
        self.counts += other.counts
        return self

    def ece(self) -> float:
        """Mean of |accuracy - confidence| over bins, weighted by their pixels; NaN without pixels."""
        pixels, right, confidence = self.counts.double()
        return float((right - confidence / _UNIT).abs().sum() / pixels.sum()) if pixels.sum() else math.nan

    def to_dict(self) -> dict[str, object]:
        """Return the reliability diagram, JSON-ready; empty bins are null."""
        pixels, right, confidence = self.counts.tolist()
        return {
            "ece": None if math.isnan(self.ece()) else self.ece(),
            "pixels": pixels,
            "accuracy": [r / n if n else None for r, n in zip(right, pixels, strict=True)],
            "confidence": [c / _UNIT / n if n else None for c, n in zip(confidence, pixels, strict=True)],
        }
