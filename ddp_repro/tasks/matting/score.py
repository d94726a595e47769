"""Scores of alpha mattes."""

from __future__ import annotations

from dataclasses import dataclass

from ddp_repro.evaluation.measure import Measure
from ddp_repro.evaluation.score import Score

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
