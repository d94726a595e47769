"""Scores of depth."""

from __future__ import annotations

from dataclasses import dataclass

from ddp_repro.evaluation.measure import Measure
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

    rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    log10: float
    silog: float
    delta1: float
    delta2: float
    delta3: float


def score(steps: int, seed: int | None, errors: DepthErrors) -> DepthScore:
    """Return the scores of a run."""
    return DepthScore(steps=steps, seed=seed, **errors.to_dict())
