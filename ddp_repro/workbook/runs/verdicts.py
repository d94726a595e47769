"""May this run claim the paper's number?  The one rule, in one place."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ddp_repro.papers.ddp.recipes.segmentation import recipe as named_recipe
from ddp_repro.settings.recipe import ConfigError, Recipe
from ddp_repro.workbook.runs.records import (
    BEV_CLASSES,
    BEVScore,
    Comparison,
    Dataset,
    DepthScore,
    Score,
    Verdict,
    spread,
)
from ddp_repro.workbook.tables.printed import EVALUATION_IMAGES, paper_value

# By column.  mIoU points: the sampling noise of a published single run is of this order.  Depth: one or two units of
# the last printed digit but one.
MINIMUM_TOLERANCE = {
    "miou": 0.3, "miou_ms": 0.3, "delta1": 0.003, "rel": 0.002, "rmse": 0.03, "rmse_log": 0.003, "log10": 0.002,
} | dict.fromkeys(BEV_CLASSES, 0.3)  # fmt: skip
OFFICIAL_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def compare(
    recipe: Recipe, dataset: Dataset, scores: Sequence[Score] | Sequence[DepthScore] | Sequence[BEVScore]
) -> list[Comparison]:
    """Each printed number that this run may be held against; ``|mean - paper| <= max(tolerance, 2 std)``.

    Empty unless the recipe is a ``paper`` recipe with its own model and data settings, scored on every image of the
    paper's split: anything else shows at most a trend.
    """
    if not _is_papers_setting(recipe, dataset):
        return []
    comparisons = []
    for steps, (column, metric) in itertools.product(sorted({score.steps for score in scores}), _columns(recipe)):
        paper = paper_value(recipe.name, steps, column)
        if paper is not None:
            values = [getattr(score, metric) for score in scores if score.steps == steps]
            comparisons.append(_comparison(column, steps, paper, values))
    return comparisons


def overall(comparisons: Sequence[Comparison]) -> Verdict:
    """``differs`` if any number does, ``reproduced`` if all agree, ``trend only`` without a number to compare with."""
    if not comparisons:
        return "trend only"
    return "differs" if any(c.verdict == "differs" for c in comparisons) else "reproduced"


def _comparison(column: str, steps: int, paper: float, values: list[float]) -> Comparison:
    mean, std = spread(values)
    tolerance = max(MINIMUM_TOLERANCE[column], 2 * (std or 0.0))
    verdict: Verdict = "reproduced" if abs(mean - paper) <= tolerance + 1e-9 else "differs"
    return Comparison(column=column, steps=steps, paper=paper, measured=mean, tolerance=tolerance, verdict=verdict)


def _columns(recipe: Recipe) -> list[tuple[str, str]]:
    """The printed columns that the evaluation settings belong to, and our names of their measures."""
    evaluation = recipe.evaluation
    if recipe.model.task == "bev":
        return [(name, name) for name in ("miou", *BEV_CLASSES)]
    if recipe.model.task == "depth":
        official = named_recipe(recipe.name, "paper").evaluation
        same = all(getattr(evaluation, f) == getattr(official, f) for f in ("protocol", "flip", "scales"))
        return [(name, name) for name in ("delta1", "rel", "rmse", "rmse_log", "log10")] if same else []
    if evaluation.scales == (1.0,) and not evaluation.flip:
        return [("miou", "miou")]
    return [("miou_ms", "miou")] if evaluation.scales == OFFICIAL_SCALES and evaluation.flip else []


def _is_papers_setting(recipe: Recipe, dataset: Dataset) -> bool:
    if recipe.preset != "paper" or dataset.images != EVALUATION_IMAGES.get(recipe.data.dataset):
        return False
    try:
        official = named_recipe(recipe.name, "paper")
    except ConfigError:  # a variant of the user's own
        return False
    if recipe.model.task == "bev":
        same = ("dataset", "version", "eval_split", "image_size", "test_resize", "sweeps", "map_range", "map_cell")
    else:
        same = ("dataset", "eval_split", "image_scale")
    return recipe.model == official.model and all(getattr(recipe.data, f) == getattr(official.data, f) for f in same)
