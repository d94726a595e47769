"""May this run claim the paper's number?  The one rule, in one place."""

from __future__ import annotations

from collections.abc import Sequence

from ddp_repro.config import ConfigError, Recipe
from ddp_repro.workbook.paper import EVALUATION_IMAGES, paper_value
from ddp_repro.workbook.recipes import recipe as named_recipe
from ddp_repro.workbook.records import Comparison, Dataset, Score, Verdict, spread

MINIMUM_TOLERANCE = 0.3  # mIoU points: the sampling noise of a published single run is of this order
OFFICIAL_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def compare(recipe: Recipe, dataset: Dataset, scores: Sequence[Score]) -> list[Comparison]:
    """Each printed number that this run may be held against; the rule is ``|mean - paper| <= max(0.3, 2 std)`` mIoU.

    Empty unless the recipe is a ``paper`` recipe with its own model and data settings, scored on every image of the
    paper's split: anything else shows at most a trend.
    """
    column = _column(recipe)
    if column is None or not _is_papers_setting(recipe, dataset):
        return []
    comparisons = []
    for steps in sorted({score.steps for score in scores}):
        paper = paper_value(recipe.name, steps, column)
        if paper is not None:
            comparisons.append(_comparison(column, steps, paper, [s.miou for s in scores if s.steps == steps]))
    return comparisons


def overall(comparisons: Sequence[Comparison]) -> Verdict:
    """``differs`` if any number does, ``reproduced`` if all agree, ``trend only`` without a number to compare with."""
    if not comparisons:
        return "trend only"
    return "differs" if any(c.verdict == "differs" for c in comparisons) else "reproduced"


def _comparison(column: str, steps: int, paper: float, values: list[float]) -> Comparison:
    mean, std = spread(values)
    tolerance = max(MINIMUM_TOLERANCE, 2 * (std or 0.0))
    verdict: Verdict = "reproduced" if abs(mean - paper) <= tolerance + 1e-9 else "differs"
    return Comparison(column=column, steps=steps, paper=paper, measured=mean, tolerance=tolerance, verdict=verdict)


def _column(recipe: Recipe) -> str | None:
    """Which printed column the evaluation settings belong to: single-scale, multi-scale with flip, or neither."""
    evaluation = recipe.evaluation
    if evaluation.scales == (1.0,) and not evaluation.flip:
        return "miou"
    return "miou_ms" if evaluation.scales == OFFICIAL_SCALES and evaluation.flip else None


def _is_papers_setting(recipe: Recipe, dataset: Dataset) -> bool:
    if recipe.preset != "paper" or dataset.images != EVALUATION_IMAGES.get(recipe.data.dataset):
        return False
    try:
        official = named_recipe(recipe.name, "paper")
    except ConfigError:  # a variant of the user's own
        return False
    same = ("dataset", "eval_split", "image_scale")
    return recipe.model == official.model and all(getattr(recipe.data, f) == getattr(official.data, f) for f in same)
