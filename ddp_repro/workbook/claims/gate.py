"""The check before any verdict on diffusion: does the model read its map?"""

from __future__ import annotations

from collections.abc import Sequence

from ddp_repro.evaluation.measure import number_text, or_nan
from ddp_repro.workbook.runs.analyses import Analysis

# By measure: what the right map must at least be worth over another image's, in points of mIoU, or in REL.  The paper's
# differences are of 0.3 to 2 points; a map that is worth less than 1 can not bring them about.
MAP_EFFECT = {"miou": 1.0, "rel": 0.01}
IGNORED = "not testable: this model ignores its map"
UNCHECKED = "not testable: whether this model reads its map was not checked"
UNDEFINED_SCORE = "not testable: a score is undefined"
RULE = (
    "A claim about diffusion is testable on a model that reads its map: at the last step the true map must beat "
    "another image's by at least {miou:g} point of mIoU (REL: {rel:g}), with the whole 95 % interval over images and "
    "sampling seeds, in every training that was checked."
).format(**MAP_EFFECT)


def judge_map_use(analyses: Sequence[Analysis]) -> str | None:
    """Return why no claim about diffusion can be tested on a model, or None where it can.

    Args:
        analyses: map use of the model's trainings.
    """
    if not analyses:
        return UNCHECKED
    if any(analysis.result["effect"]["estimate"] is None for analysis in analyses):
        return UNDEFINED_SCORE
    return None if all(_reads(analysis) for analysis in analyses) else IGNORED


def describe_map_use(analyses: Sequence[Analysis]) -> str:
    """Return the effect of the map in words: that of the training with the smallest one."""
    if not analyses:
        return "effect of the map unknown"
    weakest = min(analyses, key=lambda analysis: or_nan(analysis.result["effect"]["estimate"]))
    effect, digits = weakest.result["effect"], {"miou": 2, "rel": 4}[weakest.result["measure"]]
    low, high = (effect[end] for end in ("low", "high"))
    interval = "unknown" if low is None else f"{low:+.{digits}f} to {high:+.{digits}f}"
    number = f", the smallest of {len(analyses)} trainings" if len(analyses) > 1 else ""
    value = number_text(effect["estimate"], digits, "+")
    return f"true map minus another image's: {value} (95 % interval: {interval}{number})"


def _reads(map_use: Analysis) -> bool:
    low = map_use.result["effect"]["low"]
    return low is not None and low > MAP_EFFECT[map_use.result["measure"]]
