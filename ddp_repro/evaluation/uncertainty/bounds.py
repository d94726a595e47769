"""What a spread means as an error: the metres within which a stated share of the errors lies at such a spread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ErrorBound:
    """A curve that was learnt on images with ground truth, for one model.

    Attributes:
        level: share of the pixels whose error lies within the bound.
        spread, bound: corners of the curve, both rising; in the unit of the prediction.
    """

    level: float
    spread: tuple[float, ...]
    bound: tuple[float, ...]

    @classmethod
    def of(cls, calibration: Mapping[str, Any]) -> ErrorBound:
        """Return the curve in the result of :func:`ddp_repro.tasks.depth.uncertainty.calibrate`."""
        return cls(calibration["level"], tuple(calibration["spread"]), tuple(calibration["metres"]))

    def __call__(self, spread: np.ndarray) -> np.ndarray:
        """Return the bound of every pixel, float32; beyond the curve's ends, that of the end."""
        return np.interp(spread, self.spread, self.bound).astype(np.float32)
