"""Scores of BEV segmentation, in percent."""

from __future__ import annotations

from dataclasses import dataclass

from ddp_repro.evaluation.measure import Measure, json_ready
from ddp_repro.evaluation.score import Score
from ddp_repro.tasks.bev.metrics import ThresholdCounts

BEV_CLASSES = ("drivable", "ped_crossing", "walkway", "stop_line", "carpark", "divider")  # as Table 3 heads them

MEASURES = {
    "miou": Measure("mIoU", "higher", 2, "%"),
    "drivable": Measure("drivable", "higher", 1, "%"),
    "ped_crossing": Measure("crossing", "higher", 1, "%"),
    "walkway": Measure("walkway", "higher", 1, "%"),
    "stop_line": Measure("stop line", "higher", 1, "%"),
    "carpark": Measure("carpark", "higher", 1, "%"),
    "divider": Measure("divider", "higher", 1, "%"),
    "miou_at_half": Measure("mIoU at 0.5", "higher", 1, "%"),
}


@dataclass(frozen=True, kw_only=True)
class BEVScore(Score):
    """IoU over the whole dataset, of one sampling seed, in percent; each class at its best threshold, as published.

    Attributes:
        miou: mean of the six classes that follow.
        miou_at_half: mean of their IoU at the threshold 0.5.
        iou: of every class at every threshold of :mod:`ddp_repro.tasks.bev.metrics`.
    """

    miou: float | None
    drivable: float | None
    ped_crossing: float | None
    walkway: float | None
    stop_line: float | None
    carpark: float | None
    divider: float | None
    miou_at_half: float | None
    iou: list[list[float | None]]


def bev_score(steps: int, seed: int | None, counts: ThresholdCounts) -> BEVScore:
    """Return the scores of a run in percent."""
    best = dict(zip(BEV_CLASSES, (100 * counts.best_iou()).tolist(), strict=True))
    means = {metric: 100 * counts.value(metric) for metric in counts.metrics}
    return BEVScore(steps=steps, seed=seed, **json_ready(means | best | {"iou": (100 * counts.iou()).tolist()}))
