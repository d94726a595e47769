"""Scores of foreground masks."""

from __future__ import annotations

from dataclasses import dataclass

from ddp_repro.evaluation.measure import Measure
from ddp_repro.evaluation.score import Score

MEASURES = {
    "max_f": Measure("maxFβ", "higher", 3),
    "weighted_f": Measure("wFβ", "higher", 3),
    "mae": Measure("MAE", "lower", 3),
    "s": Measure("Sα", "higher", 3),
    "mean_e": Measure("mEφ", "higher", 3),
    "hce": Measure("HCE", "lower", 0),
}


@dataclass(frozen=True, kw_only=True)
class MaskScore(Score):
    """The measures of DIS5K, of one sampling seed."""

    max_f: float | None
    weighted_f: float | None
    mae: float | None
    s: float | None
    mean_e: float | None
    hce: float | None
