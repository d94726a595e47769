"""Scores of surface normals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ddp_repro.evaluation.measure import Measure, json_ready
from ddp_repro.evaluation.score import Score
from ddp_repro.tasks.normals.metrics import NormalErrors, PooledHistogram

MEASURES = {
    "mean_angle": Measure("mean", "lower", 1, "°"),
    "median_angle": Measure("median", "lower", 1, "°"),
    "rmse_angle": Measure("RMSE", "lower", 1, "°"),
    "within_5": Measure("5°", "higher", 1, "%"),
    "within_7_5": Measure("7.5°", "higher", 1, "%"),
    "within_11_25": Measure("11.25°", "higher", 1, "%"),
    "within_22_5": Measure("22.5°", "higher", 1, "%"),
    "within_30": Measure("30°", "higher", 1, "%"),
}
SHORT = {"mean": "mean_angle", "median": "median_angle", "rmse": "rmse_angle"}  # names among all tasks' measures


@dataclass(frozen=True, kw_only=True)
class NormalsScore(Score):
    """Angular errors, degrees, over all valid pixels of the set, of one sampling seed; and percent below thresholds."""

    mean_angle: float | None
    median_angle: float | None
    rmse_angle: float | None
    within_5: float | None
    within_7_5: float | None
    within_11_25: float | None
    within_22_5: float | None
    within_30: float | None


def score(steps: int, seed: int | None, errors: NormalErrors | PooledHistogram) -> NormalsScore:
    """Return the scores of a run."""
    values: dict[str, Any] = {SHORT.get(name, name): value for name, value in errors.to_dict().items()}
    return NormalsScore(steps=steps, seed=seed, **json_ready(values))
