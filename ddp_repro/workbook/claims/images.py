"""Differences with the test images drawn anew, from what each image added to the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddp_repro.evaluation.per_image.statistics import ImageStatistics
from ddp_repro.evaluation.resampling import (
    ImageScores,
    MeanIoU,
    MeanScores,
    WeightedScores,
    hierarchical_bootstrap,
    image_bootstrap,
)
from ddp_repro.evaluation.statistics import Estimate, StatisticsError, Unit, least
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.workbook.claims.claim import Comparison, Side
from ddp_repro.workbook.runs.companion import read_image_statistics
from ddp_repro.workbook.runs.records import Record, task_of
from ddp_repro.workbook.tables.measures import measures

PIXELS = {"miou": ("intersection", "union"), "mbiou": ("boundary_intersection", "boundary_union")}


@dataclass(frozen=True)
class ImageEvidence:
    """The companions of records (``images.npz``).

    Attributes:
        records: by recipe and training seed.
    """

    records: Mapping[tuple[str, int], Record]
    metric: str
    output: str | Path

    def difference(self, comparison: Comparison, seeds: Sequence[int], unit: Unit) -> Estimate | None:
        """Estimate by how much the first side is better than every rival; None where companions do not allow it.

        Args:
            seeds: training seeds; one, if the unit is sampling seeds.
        """
        try:
            first, *rivals = (self._side(side, seeds, unit) for side in (comparison.first, *comparison.rivals))
            parts = [_oriented(_bootstrap(first, rival, unit), self.metric) for rival in rivals]
        except (ConfigError, StatisticsError):  # an older record; images that are not the same; an undefined score
            return None
        return least(parts)

    def _side(self, side: Side, seeds: Sequence[int], unit: Unit) -> WeightedScores:
        parts = []
        for weight, arm in side.weighted:
            records = [self.records[arm.recipe, seed] for seed in seeds]
            read = [(record, read_image_statistics(record, self.output)) for record in records]
            if unit == "sampling seeds":
                parts.append((float(weight), image_scores(read, self.metric, arm.steps, slice(None))))
                continue
            count = min(statistics.of(name, arm.steps).shape[0] for _, statistics in read for name in statistics.values)
            parts += [(weight / count, image_scores(read, self.metric, arm.steps, row)) for row in range(count)]
        return WeightedScores(parts)


def difference_of_images(
    first: tuple[Record, str | Path], second: tuple[Record, str | Path], metric: str, steps: int
) -> Estimate | None:
    """Estimate first minus second of two evaluations of the same images, from what each image added.

    Args:
        first, second: a record and the root of the results that its companion lies in.

    Returns:
        In the records' unit, whatever direction is better; None where a companion is missing or does not allow it.
    """
    try:
        sides = [image_scores([(record, read_image_statistics(record, output))], metric, steps, slice(None))
                 for record, output in (first, second)]  # fmt: skip
        estimate = _bootstrap(sides[0], sides[1], "sampling seeds")
    except (ConfigError, StatisticsError):
        return None
    return estimate.scaled(100 if measures()[metric].unit == "%" else 1)


def image_scores(
    read: Sequence[tuple[Record, ImageStatistics]], metric: str, steps: int, row: int | slice
) -> MeanScores | MeanIoU:
    """Return what the scores of trainings are made of, at one sampling seed (its ``row``) or at all of them.

    Raises:
        StatisticsError: the measure is not made of what each image adds.
        ValueError: these steps were not evaluated.
    """

    def stacked(name: str) -> NDArray[np.float64]:
        return np.concatenate([_rows(statistics.of(name, steps), row) for _, statistics in read])

    names, settings = read[0][1].values.keys(), read[0][0].settings()
    tally: Any = task_named(task_of(read[0][0].recipe)).tally(settings.model, settings.evaluation)
    rows = PIXELS.get(metric)
    if rows and names >= set(rows):
        counts = tally.boundary if metric == "mbiou" else tally
        return MeanIoU(*(_scored_classes(counts, stacked(name)) for name in rows))
    if "measures" not in names:
        raise StatisticsError(f"{metric} is not made of what each image adds")
    return MeanScores(stacked("measures")[..., tally.metrics.index(metric)])


def _oriented(estimate: Estimate, metric: str) -> Estimate:
    """Return the estimate in the records' unit, positive where the first side is better."""
    measure = measures()[metric]
    return estimate.scaled((100 if measure.unit == "%" else 1) * (1 if measure.direction == "higher" else -1))


def _scored_classes(tally: Any, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out the class that predictions may have and the truth never has, where it does not count."""
    unscored = getattr(tally, "unscored", None)
    if unscored is None or not 0 <= unscored < pixels.shape[-1]:  # boundaries name the ignored label in place of none
        return pixels
    return np.delete(pixels, unscored, axis=-1)


def _rows(values: NDArray[np.float64], row: int | slice) -> NDArray[np.float64]:
    return values[row] if isinstance(row, slice) else values[row : row + 1]


def _bootstrap(first: ImageScores, second: ImageScores, unit: Unit) -> Estimate:
    single = unit == "sampling seeds" and first.repetitions == 1
    return image_bootstrap(first, second) if single else hierarchical_bootstrap(first, second, unit)
