"""Predicting alpha mattes: at evaluation, and of a picture of one's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.evaluation.views import ViewedImage
from ddp_repro.protocols.method import Method
from ddp_repro.tasks.opacity import OpacityEstimator, OpacityPrediction, estimate_opacity


class MattePrediction(OpacityPrediction):
    """What :func:`predict` returns of a model of mattes; ``opacity`` is the alpha of the foreground in [0, 1]."""

    kind: ClassVar[str] = "matte"


MatteEstimator = OpacityEstimator


def estimate(model: Method, image: ViewedImage, runs: Iterable[Trajectory]) -> MattePrediction:
    """Return the matte of a prepared picture."""
    return MattePrediction(opacity=estimate_opacity(model, image, runs))
