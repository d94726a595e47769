"""Scores of affine-invariant depth."""

from __future__ import annotations

from dataclasses import dataclass

from ddp_repro.evaluation.measure import Measure, json_ready
from ddp_repro.evaluation.score import Score
from ddp_repro.tasks.affine_depth.metrics import AffineDepthErrors
from ddp_repro.tasks.depth.score import MEASURES as METRIC_DEPTH_MEASURES

MEASURES = {**METRIC_DEPTH_MEASURES, "i_rmse": Measure("iRMSE", "lower", 3, "1/m")}


@dataclass(frozen=True, kw_only=True)
class AffineDepthScore(Score):
    """Measures after alignment, each the mean over images, of one sampling seed."""

    rel: float | None
    sq_rel: float | None
    rmse: float | None
    rmse_log: float | None
    log10: float | None
    silog: float | None
    delta1: float | None
    delta2: float | None
    delta3: float | None
    i_rmse: float | None


def score(steps: int, seed: int | None, errors: AffineDepthErrors) -> AffineDepthScore:
    """Return the scores of a run."""
    measured = len(errors.images) if errors.empty else None
    return AffineDepthScore(steps=steps, seed=seed, measured=measured, **json_ready(errors.to_dict()))
