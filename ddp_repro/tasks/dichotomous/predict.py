"""Predicting foreground masks: at evaluation, and of a picture of one's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from torch import Tensor

from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.evaluation.views import ViewedImage
from ddp_repro.protocols.method import Method
from ddp_repro.tasks.opacity import OpacityEstimator, OpacityPrediction, estimate_opacity


class MaskPrediction(OpacityPrediction):
    """What :func:`predict` returns of a model of foreground masks; ``opacity`` is its confidence in [0, 1]."""

    kind: ClassVar[str] = "foreground"

    @property
    def mask(self) -> np.ndarray:
        """Return the foreground, bool (H, W): where the confidence is above one half."""
        return self.opacity > 0.5


MaskEstimator = OpacityEstimator


def segment(model: Method, image: ViewedImage, runs: Iterable[Trajectory]) -> MaskPrediction:
    """Return the foreground of a prepared picture."""
    return MaskPrediction(opacity=estimate_opacity(model, image, runs))


def as_8_bit(opacity: Tensor) -> np.ndarray:
    """Return a map in [0, 1] as the measures take it, uint8 (H, W)."""
    return (opacity.clamp(0, 1) * 255).round().byte().cpu().numpy()
