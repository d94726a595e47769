"""Scores of alpha mattes."""

from __future__ import annotations

from dataclasses import dataclass

from ddp_repro.evaluation.measure import Measure, json_ready
from ddp_repro.evaluation.score import Score
from ddp_repro.tasks.matting.metrics import MattingErrors

MEASURES = {
    "sad": Measure("SAD", "lower", 2),
    "mad": Measure("MAD", "lower", 4),
    "mse": Measure("MSE", "lower", 4),
    "grad": Measure("GRAD", "lower", 2),
    "conn": Measure("CONN", "lower", 2),
}


@dataclass(frozen=True, kw_only=True)
class MatteScore(Score):
    """The measures of whole mattes, each the mean over images, of one sampling seed."""

    sad: float | None
    mad: float | None
    mse: float | None
    grad: float | None
    conn: float | None


def score(steps: int, seed: int | None, errors: MattingErrors) -> MatteScore:
    """Return the scores of a run."""
    return MatteScore(steps=steps, seed=seed, **json_ready(errors.to_dict()))
