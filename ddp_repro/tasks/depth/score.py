"""Scores of depth."""

from __future__ import annotations

from dataclasses import dataclass

from ddp_repro.evaluation.measure import Measure, json_ready
from ddp_repro.evaluation.score import Score
from ddp_repro.tasks.depth.metrics import DepthErrors

MEASURES = {
    "rel": Measure("REL", "lower", 3),
    "sq_rel": Measure("SqRel", "lower", 3, "m"),
    "rmse": Measure("RMSE", "lower", 3, "m"),
    "rmse_log": Measure("RMSE log", "lower", 3),
    "log10": Measure("log10", "lower", 3),
    "silog": Measure("SILog", "lower", 2),
    "delta1": Measure("δ1", "higher", 3),
    "delta2": Measure("δ2", "higher", 3),
    "delta3": Measure("δ3", "higher", 3),
}


@dataclass(frozen=True, kw_only=True)
class DepthScore(Score):
    """Measures of :mod:`ddp_repro.tasks.depth.metrics`, each the mean over images, of one sampling seed."""

    rel: float | None
    sq_rel: float | None
    rmse: float | None
    rmse_log: float | None
    log10: float | None
    silog: float | None
    delta1: float | None
    delta2: float | None
    delta3: float | None


def score(steps: int, seed: int | None, errors: DepthErrors) -> DepthScore:
    """Return the scores of a run."""
    measured = errors.measured if errors.measured < errors.images else None
    return DepthScore(steps=steps, seed=seed, measured=measured, **json_ready(errors.to_dict()))
