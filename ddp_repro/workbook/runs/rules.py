"""The rules by which claims are judged, fixed before any number is seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ddp_repro.evaluation.measure import number_text
from ddp_repro.workbook.runs.analyses import Analysis
from ddp_repro.workbook.runs.records import Record

Verdict = Literal[
    "supported", "not supported", "inconclusive", "not run", "not testable: this model ignores its map",
    "not testable: whether this model reads its map was not checked", "not testable: a score is undefined",
]  # fmt: skip

PRINTED_DIGIT = 0.1  # mIoU points; a smaller difference would not show in the paper's tables
HIGH_CORRELATION = 0.7  # Pearson's r that is commonly called high
# By measure: what the right map must at least be worth over another image's, in points of mIoU, or in REL.  The paper's
# differences are of 0.3 to 2 points; a map that is worth less than 1 can not bring them about.
MAP_EFFECT = {"miou": 1.0, "rel": 0.01}
RULES = (
    f"Rule: a correlation is called high if r - 2 standard errors (over images) ≥ {HIGH_CORRELATION}, and not high if "
    f"r + 2 standard errors < {HIGH_CORRELATION}.",
    "Rule: a claim about diffusion is testable on a model that reads its map: at the last step the true map must beat "
    f"another image's by at least {MAP_EFFECT['miou']:g} point of mIoU (REL: {MAP_EFFECT['rel']:g}), with the whole "
    "95 % interval over images and sampling seeds.",
)


@dataclass(frozen=True)
class Finding:
    """What the records say about a claim: the verdict and the numbers it rests on."""

    verdict: Verdict
    evidence: str


def judge_difference(difference: float, deviation: float, minimum: float = PRINTED_DIGIT) -> Verdict:
    """Return the verdict on "one is better than the other" (see the top of ``claims.py``)."""
    if math.isnan(difference):
        return "not testable: a score is undefined"
    if difference - 2 * deviation > 0 and difference >= minimum:
        return "supported"
    return "not supported" if difference + 2 * deviation < minimum else "inconclusive"


def judge_correlation(correlation: float, error: float) -> Verdict:
    """Return the verdict on "highly correlated": the whole interval r ± 2 standard errors above 0.7, or below."""
    if correlation - 2 * error >= HIGH_CORRELATION:
        return "supported"
    return "not supported" if correlation + 2 * error < HIGH_CORRELATION else "inconclusive"


def says(verdict: Verdict) -> int:
    """Return how much a verdict says: nothing (0), that the model is no test (1), or something on the claim (2)."""
    return 0 if verdict == "not run" else 1 if verdict.startswith("not testable") else 2


def analysis_of(records: Sequence[Record], analysis: Analysis | None) -> Analysis | None:
    """Return the analysis if it is of the weights of one of the records, or if there is no record."""
    if analysis is None or not records:
        return analysis
    return analysis if analysis.checkpoint in {record.checkpoint.sha256 for record in records} else None


def judge_map_use(map_use: Analysis | None) -> Verdict | None:
    """Return why no claim about diffusion can be tested on a model, or None where it can.

    Args:
        map_use: the model's analysis (:func:`ddp_repro.workbook.runs.analyses.map_use`), if there is one.
    """
    if map_use is None:
        return "not testable: whether this model reads its map was not checked"
    if map_use.result["effect"]["estimate"] is None:
        return "not testable: a score is undefined"
    low, minimum = map_use.result["effect"]["low"], MAP_EFFECT[map_use.result["measure"]]
    return None if low is not None and low > minimum else "not testable: this model ignores its map"


def describe_map_use(map_use: Analysis | None) -> str:
    """Return the effect of the map in words, for the evidence of a claim."""
    if map_use is None:
        return "effect of the map unknown"
    effect, digits = map_use.result["effect"], {"miou": 2, "rel": 4}[map_use.result["measure"]]
    low, high = (effect[end] for end in ("low", "high"))
    interval = "unknown" if low is None else f"{low:+.{digits}f} to {high:+.{digits}f}"
    return f"true map minus another image's: {number_text(effect['estimate'], digits, '+')} (95 % interval: {interval})"
