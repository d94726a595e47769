"""Scores of affine-invariant depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from ddp_repro.evaluation.measure import Measure
from ddp_repro.evaluation.score import Score
from ddp_repro.tasks.affine_depth.metrics import AffineDepthErrors
from ddp_repro.tasks.depth.score import MEASURES as METRIC_DEPTH_MEASURES

MEASURES = {**METRIC_DEPTH_MEASURES, "i_rmse": Measure("iRMSE", "lower", 3, "1/m")}


@dataclass(frozen=True, kw_only=True)
class AffineDepthScore(Score):
    """Measures after alignment, each the mean over images, of one sampling seed."""

    rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    log10: float
    silog: float
    delta1: float
    delta2: float
    delta3: float
    i_rmse: float


def score(steps: int, seed: int | None, errors: AffineDepthErrors) -> AffineDepthScore:
    """Return the scores of a run."""
    return AffineDepthScore(steps=steps, seed=seed, **cast(dict[str, Any], errors.to_dict()))
