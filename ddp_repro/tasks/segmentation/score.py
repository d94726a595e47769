"""Scores of semantic segmentation, in percent as the papers print them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ddp_repro.evaluation.measure import Measure, or_none
from ddp_repro.evaluation.score import Score
from ddp_repro.tasks.segmentation.metrics import ClassCounts, PixelCounts

MEASURES = {
    "miou": Measure("mIoU", "higher", 2, "%"),
    "macc": Measure("mAcc", "higher", 2, "%"),
    "aacc": Measure("aAcc", "higher", 2, "%"),
    "mbiou": Measure("mBIoU", "higher", 2, "%"),
}


@dataclass(frozen=True, kw_only=True)
class SegmentationScore(Score):
    """Scores over the whole dataset, of one sampling seed, in percent.

    Attributes:
        seed: None for the non-diffusion baseline, which draws no noise.
        iou: per class; None for one that is neither in the labels nor predicted.
        mbiou, biou: of boundaries, where they were asked for (``evaluation.boundary``); ``biou`` is None otherwise.
    """

    miou: float | None
    macc: float | None
    aacc: float | None
    iou: list[float | None]
    mbiou: float | None = None
    biou: list[float | None] | None = None

    def measures(self) -> tuple[str, ...]:
        """Return the names of the measures that were taken."""
        return tuple(name for name in super().measures() if name != "mbiou" or self.biou is not None)


def score(steps: int, seed: int | None, counts: ClassCounts) -> SegmentationScore:
    """Return the scores of a run in percent; a class that does not occur has no IoU."""
    means: dict[str, Any] = {metric: or_none(100 * counts.value(metric)) for metric in counts.metrics}
    biou = _percent(counts.boundary) if counts.boundary else None
    return SegmentationScore(steps=steps, seed=seed, iou=_percent(counts), biou=biou, **means)


def _percent(counts: PixelCounts) -> list[float | None]:
    return [or_none(100 * value) for value in counts.iou().tolist()]
