"""May this run claim the paper's number?  The one rule, in one place."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from ddp_repro.evaluation.measure import or_nan, or_none, spread
from ddp_repro.evaluation.score import Score
from ddp_repro.settings.recipe import Recipe
from ddp_repro.workbook.catalogue import paper_of
from ddp_repro.workbook.runs.records import Comparison, Dataset, Verdict
from ddp_repro.workbook.tables.printed import EVALUATION_IMAGES, paper_value


def compare(recipe: Recipe, dataset: Dataset, scores: Sequence[Score]) -> list[Comparison]:
    """Each printed number that this run may be held against; ``|mean - paper| <= max(tolerance, 2 std)``.

    Empty unless the recipe is a ``paper`` recipe with its own model and data settings, scored on every image of the
    paper's split: anything else shows at most a trend.
    """
    if not _may_claim(recipe, dataset):
        return []
    comparisons = []
    for steps, (column, metric) in itertools.product(
        sorted({score.steps for score in scores}), paper_of(recipe).printed_columns(recipe)
    ):
        paper = paper_value(recipe, steps, column)
        if paper is not None:
            values = [or_nan(getattr(score, metric)) for score in scores if score.steps == steps]
            comparisons.append(_comparison(column, steps, paper, values, paper_of(recipe).tolerance(column)))
    return comparisons


def overall(comparisons: Sequence[Comparison]) -> Verdict:
    """``differs`` if any number does, ``reproduced`` if all agree, ``trend only`` without a number to compare with.

    A measured number that is undefined is none to compare with.
    """
    verdicts = {comparison.verdict for comparison in comparisons}
    return "differs" if "differs" in verdicts else "reproduced" if verdicts == {"reproduced"} else "trend only"


def _comparison(column: str, steps: int, paper: float, values: list[float], minimum: float) -> Comparison:
    mean, std = spread(values)
    if math.isnan(mean):
        tolerance, verdict = minimum, "trend only"
    else:
        tolerance = max(minimum, 2 * (std or 0.0))
        verdict = "reproduced" if abs(mean - paper) <= tolerance + 1e-9 else "differs"
    return Comparison(
        column=column, steps=steps, paper=paper, measured=or_none(mean), tolerance=tolerance, verdict=verdict
    )


def _may_claim(recipe: Recipe, dataset: Dataset) -> bool:
    """Whether this is the paper's own setting, scored on every image of its split."""
    complete = dataset.images == EVALUATION_IMAGES.get(recipe.data.dataset)
    return recipe.preset == "paper" and complete and paper_of(recipe).is_papers_setting(recipe)
