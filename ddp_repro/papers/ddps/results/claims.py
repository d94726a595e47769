"""The paper's findings, stated before any number is seen: what is compared, and which difference would matter.

Each is asked twice, of mIoU and of mBIoU, on the small models of a preset.  The smallest effect that matters is a little
less than what the authors' log gains by all later steps together.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ddp_repro.papers.ddps.recipes import FEW, MANY, SMALL, Arm, Strict, name_of, sampled_by, unrefined_of
from ddp_repro.workbook.claims.claim import Claim, Comparison, Side
from ddp_repro.workbook.claims.evidence import Evidence
from ddp_repro.workbook.claims.table import claims_table as table_of
from ddp_repro.workbook.tables.rendering import NOTHING, Table

MINIMUM = 0.3  # percentage points of mIoU or mBIoU
MEASURES = {"miou": ("", ""), "mbiou": ("_boundary", ", at boundaries")}  # what is added to keys and statements
POSTERIORS: dict[Strict, str] = {"strict": "exact", "strict_released": "released"}
NOISED: dict[Arm, tuple[str, str]] = {  # what is added to keys; what training noised
    "multi": ("", "the first prediction"), "truth": ("_truth", "the ground truth"),
}  # fmt: skip


def claims(preset: str) -> list[tuple[Claim, ...]]:
    """Return the findings that a preset can judge; none where nothing small is trained."""
    if preset not in SMALL:
        return []
    return [(claim,) for metric in MEASURES for claim in (*_arms(preset, metric), *_samplers(preset, metric))]


def claims_table(preset: str, output: str | Path = "results") -> Table:
    """Return every finding with its numbers and the verdict.

    Raises:
        RecordError: a record or analysis is damaged.
    """
    return table_of("ddps", claims(preset), Evidence(preset, output))


def _arms(preset: str, metric: str) -> Iterator[Claim]:
    """Between trainings: other weights on the same frozen segmentor."""
    base, single = Side.of("segmentor", unrefined_of(preset), 1), _side(preset, "single", "one step", 1)
    longer = _side(preset, "longer", "one step, trained on", 1)
    truth, multi = _side(preset, "truth", "noise on the truth", MANY), _side(preset, "multi", "on predictions", MANY)
    parts: tuple[tuple[str, str, str, Arm, Side, Side], ...] = (
        ("prior", "a prior of one step improves the segmentor", NOTHING, "single", single, base),
        ("refined", "the whole of it, many steps on first predictions, improves the segmentor", NOTHING, "multi", multi,
         base),
        ("integration", "many steps with noise on the ground truth stay behind one step, trained for as long",
         "finding 1", "truth", longer, truth),
        ("noised", "noise on the first prediction is better than on the ground truth", "finding 2", "multi", multi,
         truth),
        ("diffusion", "many steps on first predictions beat one step, trained for as long", NOTHING, "multi", multi,
         longer),
    )  # fmt: skip
    for key, statement, where, arm, first, rival in parts:
        yield _claim(key, statement, where, name_of(preset, arm), first, rival, metric, diffusion=False)


def _samplers(preset: str, metric: str) -> Iterator[Claim]:
    """Of the same weights: more steps, and free re-noising against both posteriors."""
    multi = name_of(preset, "multi")
    more, few = (_side(preset, "multi", f"n = {steps}", steps) for steps in (MANY, FEW))
    yield _claim("steps", f"more steps help: n = {MANY} beats {FEW}", NOTHING, multi, more, few, metric)
    for arm, (end, noised) in NOISED.items():
        free = _side(preset, arm, "free re-noising", MANY)
        for sampler, posterior in POSTERIORS.items():
            strict = Side.of(f"{posterior} posterior", sampled_by(preset, arm, sampler), MANY)
            statement = f"free re-noising beats the {posterior} posterior, same weights (trained with noise on {noised})"
            yield _claim(f"relaxed_{posterior}{end}", statement, "finding 3", name_of(preset, arm), free, strict, metric)


def _side(preset: str, arm: Arm, words: str, steps: int) -> Side:
    return Side.of(words, name_of(preset, arm), steps)


def _claim(
    key: str, statement: str, where: str, model: str, first: Side, rival: Side, metric: str, *, diffusion: bool = True
) -> Claim:  # fmt: skip
    end, words = MEASURES[metric]
    return Claim(
        key=key + end, statement=statement + words, where=where, printed=NOTHING, model=model, diffusion=diffusion,
        question=Comparison(first, (rival,), metric), minimum=MINIMUM,
    )  # fmt: skip
