"""Predicting surface normals: at evaluation, and of a picture of one's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.evaluation.views import Predictor, ViewedImage, to_image_size
from ddp_repro.protocols.method import Method
from ddp_repro.tasks.normals.axes import HOUSE, convert_axes

SHOWN_AXES = "right_up_back"  # a wall that faces the camera is blue, a floor green, as in most viewers


@dataclass(frozen=True, kw_only=True)
class NormalsPrediction:
    """What :func:`predict` returns of a model of surface normals, as numpy arrays of the picture's size.

    Attributes:
        normals: float32 (H, W, 3), unit vectors out of the surface, on axes right, down, ahead.
        uncertainty: float32 (H, W), mean angle in degrees between the noise samples and their mean; None: one sample.
        uncertainty_score: ``sample_angle``, or None.
    """

    normals: np.ndarray
    uncertainty: np.ndarray | None = None
    uncertainty_score: str | None = None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Return the maps by the name of their files; the first is what is shown."""
        return {"normals": self.normals} | ({} if self.uncertainty is None else {"uncertainty": self.uncertainty})

    def facts(self, class_names: Any = ()) -> dict[str, Any]:
        """Return what the manifest says of the map: its mean vector."""
        mean = self.normals.reshape(-1, 3).mean(0)
        return {"values": {f"mean_{axis}": round(float(value), 4) for axis, value in zip("xyz", mean, strict=True)}}

    def preview(self) -> np.ndarray:
        """Return the normals as colours on :data:`SHOWN_AXES`, uint8 (H, W, 3)."""
        return ((self.to_axes(SHOWN_AXES) + 1) / 2 * 255).round().clip(0, 255).astype(np.uint8)

    def to_axes(self, axes: str) -> np.ndarray:
        """Return the normals on other axes, e.g. ``right_up_back`` (OpenGL); see :mod:`ddp_repro.tasks.normals.axes`.

        Raises:
            ConfigError: an unknown convention.
        """
        return convert_axes(self.normals, axes, HOUSE)


class NormalsEstimator(Predictor):
    """Predicts unit normals, float32 (3, H, W): the mean direction over the views."""

    def finish(self, outputs: list[Tensor], index: int) -> Tensor:
        """Return the map of one picture at its own size."""
        views = zip(self.at_original_size(outputs, index), self.views, strict=True)
        upright = [_unmirrored(normals[0]) if view.flip else normals[0] for normals, view in views]
        return F.normalize(torch.stack(upright).sum(0), dim=0)


def estimate(model: Method, image: ViewedImage, runs: Iterable[Trajectory]) -> NormalsPrediction:
    """Return the normals of a prepared picture, and how far noise samples turn from their mean."""
    input_size, size = image.input_size, image.size
    outputs = [F.normalize(to_image_size(run.output, input_size, size)[0], dim=0) for run in runs]
    members = torch.stack(outputs)
    mean = F.normalize(members.mean(0), dim=0)
    several = len(outputs) > 1
    angles = (members * mean).sum(1).clamp(-1, 1).acos().rad2deg().mean(0)
    return NormalsPrediction(
        normals=mean.permute(1, 2, 0).contiguous().cpu().numpy(),
        uncertainty=angles.cpu().numpy() if several else None,
        uncertainty_score="sample_angle" if several else None,
    )


def _unmirrored(normals: Tensor) -> Tensor:
    """Return normals (3, H, W) of a mirrored picture as those of the picture."""
    return normals.flip(-1) * normals.new_tensor([-1, 1, 1]).reshape(3, 1, 1)
