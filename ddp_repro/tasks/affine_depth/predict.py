"""Predicting affine-invariant depth: at evaluation, and of a picture of one's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.diffusion.uncertainty import depth_spread
from ddp_repro.evaluation.views import Predictor, ViewedImage, resized
from ddp_repro.protocols.method import Method
from ddp_repro.tasks.affine_depth.alignment import Alignment, Space, fit_alignment

COLOURS = {"depth": "Spectral", "disparity": "Spectral_r"}  # near is red in both


@dataclass(frozen=True, kw_only=True)
class AffineDepthPrediction:
    """What :func:`predict` returns of a model of affine-invariant depth, as numpy arrays of the picture's size.

    The values are no metres: unknown are a scale and a shift, of depth or of disparity (:attr:`space`).  With some
    true depths at hand :meth:`align_to` supplies both.

    Attributes:
        values: float32 (H, W) in [0, 1]; depth: 0 is near and 1 far; disparity: 1 is near and 0 far.
        space: ``depth`` or ``disparity``.
        uncertainty: float32 (H, W), standard deviation over the noise samples; None where there is a single one.
        uncertainty_score: ``sample_spread``, or None.
    """

    values: np.ndarray
    space: Space
    uncertainty: np.ndarray | None = None
    uncertainty_score: str | None = None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Return the maps by the name of their files; the first is what is shown."""
        return {self.space: self.values} | ({} if self.uncertainty is None else {"uncertainty": self.uncertainty})

    def facts(self, class_names: Any = ()) -> dict[str, Any]:
        """Return what the manifest says of the map: its meaning, range and median."""
        low, middle, high = (round(float(f(self.values)), 4) for f in (np.min, np.median, np.max))
        return {"values": {f"{self.space}_affine_min": low, "median": middle, "max": high}}

    def preview(self) -> np.ndarray:
        """Return the map in colours, uint8 (H, W, 3); near is red."""
        import matplotlib

        return matplotlib.colormaps[COLOURS[self.space]](self.values.clip(0, 1), bytes=True)[..., :3]

    def align_to(self, depth: np.ndarray, valid: np.ndarray | None = None) -> AlignedDepth:
        """Return metric depth by the least-squares scale and shift on true depths.

        Args:
            depth: metres, dense or sparse: (H, W) of the picture's size, 0 where unknown; or points (N, 3), each the
                row, the column and the depth.
            valid: bool (H, W), which of a dense map to use.

        Raises:
            ValueError: another shape, points outside the picture, values that are not finite, fewer than two depths,
                or depths or a prediction that are constant there, and so give no scale.
        """
        truth = self._dense(np.asarray(depth, np.float64))
        mask = truth > 0 if valid is None else np.asarray(valid, bool) & (truth > 0)
        values = torch.from_numpy(self.values.astype(np.float64))
        alignment = fit_alignment(values, torch.from_numpy(truth), torch.from_numpy(mask), space=self.space)
        known = truth[mask]
        if known.min() == known.max():  # the fitted scale is 0 but for rounding
            raise ValueError("the known depth is constant: no scale can be fitted")
        if alignment.scale == 0:
            raise ValueError("the prediction is constant where depth is known: no scale can be fitted")
        return AlignedDepth(alignment.apply(values).numpy().astype(np.float32), alignment)

    def _dense(self, depth: np.ndarray) -> np.ndarray:
        if depth.shape == self.values.shape:
            return depth
        if depth.ndim != 2 or depth.shape[1] != 3:
            raise ValueError(f"depth of shape {depth.shape}: want {self.values.shape}, or points (N, 3)")
        places = depth[:, :2].round().astype(int)
        inside = ((places >= 0) & (places < self.values.shape)).all()
        if not np.isfinite(depth).all() or not inside:
            raise ValueError("a point is not finite or outside the picture")
        dense = np.zeros(self.values.shape)
        dense[places[:, 0], places[:, 1]] = depth[:, 2]
        return dense


@dataclass(frozen=True)
class AlignedDepth:
    """Metric depth, float32 (H, W) in metres, and the scale and shift that made it."""

    depth: np.ndarray
    alignment: Alignment


class AffineDepthEstimator(Predictor):
    """Predicts affine-invariant maps, float32: the mean over the views."""

    def finish(self, outputs: list[Tensor], index: int) -> Tensor:
        """Return the map of one picture at its own size."""
        maps = zip(self.at_original_size(outputs, index), self.views, strict=True)
        return torch.stack([(each.flip(-1) if view.flip else each)[0, 0] for each, view in maps]).mean(0)


def estimate(model: Method, image: ViewedImage, runs: Iterable[Trajectory]) -> AffineDepthPrediction:
    """Return the map of a prepared picture, and its spread over the noise samples."""
    input_size, size = image.input_size, image.size
    outputs = torch.stack([run.output.float() for run in runs])
    several = len(outputs) > 1
    return AffineDepthPrediction(
        values=resized(outputs.mean(0)[0, 0], input_size, size),
        space=model.config.space,
        uncertainty=resized(depth_spread(outputs)[0], input_size, size) if several else None,
        uncertainty_score="sample_spread" if several else None,
    )
