"""Predicting depth: at evaluation, and of a picture of one's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.diffusion.uncertainty import depth_spread
from ddp_repro.evaluation.views import Predictor, ViewedImage, resized
from ddp_repro.protocols.method import Method
from ddp_repro.tasks.depth.view_spread import view_spreads

COLOURS = "magma_r"  # near is bright


@dataclass(frozen=True, kw_only=True)
class DepthPrediction:
    """What :func:`predict` returns of a depth model, as numpy arrays of the picture's size.

    Attributes:
        depth: float32 (H, W), metres.
        uncertainty: float32 (H, W), metres: the ``view_spread``, which finds errors; where there is none,
            ``sample_spread`` for several noise samples, else ``step_spread``; None where there is neither.
        uncertainty_score: which of them it is.
        step_spread: standard deviation over the steps, mean over the noise samples; None for a single step.
        sample_spread: standard deviation over the noise samples; None for a single one.
        view_spread: standard deviation over the picture, its mirror image and parts of it; None while sampling goes
            on, and for a picture that is predicted by windows.
        error_bound: metres within which the error of a share of the pixels with such a ``view_spread`` lay on test
            images; None where that was not measured for the model's weights and this number of steps.
        error_level: that share.
        ratio_scale: metres have a true zero, so that a change may be told as a share of the depth.
    """

    ratio_scale: ClassVar[bool] = True

    depth: np.ndarray
    uncertainty: np.ndarray | None
    uncertainty_score: str | None
    step_spread: np.ndarray | None
    sample_spread: np.ndarray | None
    view_spread: np.ndarray | None = None
    error_bound: np.ndarray | None = None
    error_level: float | None = None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Return the maps by the name of their files, float32; the first is what is shown."""
        maps = {"depth": self.depth, "uncertainty": self.uncertainty, "error_bound": self.error_bound}
        return {kind: values.astype(np.float32) for kind, values in maps.items() if values is not None}

    def preview(self) -> np.ndarray:
        """Return the depth in colours, uint8 (H, W, 3), from the nearest (bright) to the farthest point."""
        import matplotlib

        near, far = float(self.depth.min()), float(self.depth.max())
        relative = (self.depth - near) / max(far - near, 1e-6)
        return matplotlib.colormaps[COLOURS](relative, bytes=True)[..., :3]

    def facts(self, class_names: Sequence[str] = ()) -> dict[str, Any]:
        """Return what the manifest says of the map: its nearest, median and farthest point, metres."""
        statistics = {"nearest_m": self.depth.min(), "median_m": np.median(self.depth), "farthest_m": self.depth.max()}
        if self.error_bound is not None:
            statistics |= {"error_bound_m": np.median(self.error_bound), "error_level": self.error_level}
        return {"depth": {name: round(float(value), 4) for name, value in statistics.items()}}


class DepthEstimator(Predictor):
    """Predicts depth in metres, float32: the mean over the views."""

    def finish(self, outputs: list[Tensor], index: int) -> Tensor:
        """Return the mean depth of an image over its views, float (H, W) in metres."""
        depths = zip(self.at_original_size(outputs, index), self.views, strict=True)
        return torch.stack([(depth.flip(-1) if view.flip else depth)[0, 0] for depth, view in depths]).mean(0)


def estimate_depth(model: Method, image: ViewedImage, runs: Iterable[Trajectory]) -> DepthPrediction:
    """Return the depth of a prepared picture and its uncertainty, from its sampling runs."""
    input_size, size = image.input_size, image.size
    runs = [*runs]
    outputs = torch.stack([run.output for run in runs])
    spreads: dict[str, np.ndarray] = {}
    if len(runs[0].decoded) > 1:
        of_steps = torch.stack([depth_spread(step_depths(model, run)) for run in runs]).mean(0)
        spreads["step_spread"] = resized(of_steps[0], input_size, size)
    if len(runs) > 1:
        spreads["sample_spread"] = resized(depth_spread(outputs)[0], input_size, size)
    shown = next(reversed(spreads), None)
    return DepthPrediction(
        depth=resized(outputs.mean(0)[0, 0], input_size, size),
        uncertainty=spreads[shown] if shown else None,
        uncertainty_score=shown,
        step_spread=spreads.get("step_spread"),
        sample_spread=spreads.get("sample_spread"),
    )


def look_again(
    model: Method, image: ViewedImage, runs: Sequence[Trajectory], prediction: DepthPrediction, *, steps: int, seed: int
) -> DepthPrediction:
    """Return the prediction with its spread over views, for which the network is shown the picture in other ways."""
    spread = view_spreads(model, image.views[0], runs[0].output, image.id, steps=steps, seed=seed).all
    shown = resized(spread, image.input_size, image.size)
    prediction = dataclasses.replace(prediction, uncertainty=shown, uncertainty_score="view_spread", view_spread=shown)
    curve = getattr(model, "error_bounds", {}).get(steps)
    if curve is None:
        return prediction
    return dataclasses.replace(prediction, error_bound=curve(shown), error_level=curve.level)


def step_depths(model: Method, run: Trajectory) -> Tensor:
    """Return the depth that each step would have returned, (S, B, 1, h, w) in metres."""
    finish = cast(Any, model).finish  # of a model whose trajectory has steps
    return torch.stack([finish([decoded], average_steps=False) for decoded in run.decoded])
