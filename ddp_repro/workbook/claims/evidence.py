"""What has been measured under a preset, looked up by arm, training seed and sampling seed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddp_repro.evaluation.statistics import Estimate, Unit, least, paired_difference
from ddp_repro.settings.training_seeds import split_seed
from ddp_repro.workbook import catalogue
from ddp_repro.workbook.claims.claim import Arm, Claim, Comparison, Side
from ddp_repro.workbook.claims.images import ImageEvidence
from ddp_repro.workbook.runs.analyses import Analysis, find_analyses
from ddp_repro.workbook.runs.records import Record, find_records
from ddp_repro.workbook.tables.measures import measures

Key = tuple[str, int, int, str]  # recipe, training seed, steps, measure
Scores = Mapping[Key, Sequence[float]]  # by sampling seed


@dataclass(frozen=True)
class Measurement:
    """What the evidence says on a claim.

    Attributes:
        pairs: how many trainings all arms have in common.
        beside: of several trainings, the estimate with the test images drawn anew too; None: what each image added was
            not kept.
    """

    estimate: Estimate
    words: str
    pairs: int = 1
    beside: Estimate | None = None


class Evidence:
    """Records and analyses of a preset.

    Args:
        more: scores from elsewhere, taken where the records do not have all arms of a comparison.

    Raises:
        RecordError: a record or analysis is damaged.
    """

    def __init__(self, preset: str, output: str | Path = "results", more: Scores | None = None) -> None:
        self.preset, self.output = preset, output
        self.records = {(split_seed(r.name)[0], _seed(r)): r for r in find_records(preset, output) if r.run == r.name}
        scored = {
            (recipe, seed, steps, metric): record.values(steps, metric)
            for (recipe, seed), record in self.records.items()
            for steps in record.steps
            for metric in record.metrics
        }
        self.sources: tuple[Scores, ...] = (scored, more or {})
        self._analyses: dict[str, dict[str, Analysis]] = {}

    def analyses(self, kind: str) -> dict[str, Analysis]:
        """Return the analyses of a kind by run."""
        if kind not in self._analyses:
            self._analyses[kind] = {a.run: a for a in find_analyses(kind, self.preset, self.output)}
        return self._analyses[kind]

    def map_uses(self, recipe: str) -> list[Analysis]:
        """Return the checks of a recipe's trainings that are of the weights that were scored."""
        found = [a for run, a in self.analyses("map_use").items() if split_seed(run)[0] == recipe]
        scored = {record.checkpoint.sha256 for (name, _), record in self.records.items() if name == recipe}
        return [a for a in found if not scored or a.checkpoint in scored]

    def used(self, claim: Claim) -> list[Record]:
        """Return the records of a claim's arms and model."""
        names = list(claim.recipes)
        return [record for (name, _), record in self.records.items() if name in names]

    def seeds(self, recipe: str) -> set[int]:
        """Return the training seeds of which a recipe has a record."""
        return {seed for name, seed in self.records if name == recipe}

    def measure(self, claim: Claim) -> Measurement | None:
        """Return the effect that a claim is about; None where something of it was not run."""
        if isinstance(claim.question, Comparison):
            return self._compare(claim.question)
        analysis = self.analyses(claim.question.analysis).get(claim.question.run)
        reading = claim.question.read(analysis.result) if analysis else None
        return Measurement(*reading) if reading else None

    def _compare(self, comparison: Comparison) -> Measurement | None:
        for scores in self.sources:
            arms, metric = comparison.arms, comparison.metric
            trained = [{seed for name, seed, steps, m in scores if (Arm(name, steps), m) == (a, metric)} for a in arms]
            if seeds := sorted(set.intersection(*trained)):
                return self._compare_on(comparison, scores, seeds)
        return None

    def _compare_on(self, comparison: Comparison, scores: Scores, seeds: list[int]) -> Measurement:
        measure, sides = measures()[comparison.metric], (comparison.first, *comparison.rivals)
        one = len(seeds) == 1 and self._are_of_one_training(comparison)
        values = [_side(side, scores, seeds, comparison.metric) for side in sides]
        means = [f"{s.words} {statistics.fmean(v):.{measure.decimals}f}" for s, v in zip(sides, values, strict=True)]
        weights = "one set of weights" if one else f"seeds {', '.join(map(str, seeds))}"
        words = f"{measure.label}: {', '.join(means)} ({weights})"
        unit: Unit = "sampling seeds" if one else "trainings"
        images = self._with_images(comparison, scores, seeds, unit)
        if one and images:
            return Measurement(images, words)
        if one:
            values = [_side_by_sampling(side, scores, seeds[0], comparison.metric) for side in sides]
        sign = 1.0 if measure.direction == "higher" else -1.0
        estimate = least([paired_difference(values[0], rival, unit).scaled(sign) for rival in values[1:]])
        return Measurement(estimate, words, len(seeds), images if len(seeds) > 1 else None)

    def _with_images(
        self, comparison: Comparison, scores: Scores, seeds: list[int], unit: Unit
    ) -> Estimate | None:  # fmt: skip
        """Return the difference with the test images drawn anew too, where the records have companions."""
        if scores is not self.sources[0]:
            return None
        return ImageEvidence(self.records, comparison.metric, self.output).difference(comparison, seeds, unit)

    def _are_of_one_training(self, comparison: Comparison) -> bool:
        recipes = [catalogue.recipe(arm.recipe, self.preset) for arm in comparison.arms]
        return len({recipe.weights_of or recipe.name for recipe in recipes}) == 1


def _side(side: Side, scores: Scores, seeds: list[int], metric: str) -> list[float]:
    """Return a side's value of each training: means over its sampling seeds."""
    return [
        sum(w * statistics.fmean(scores[arm.recipe, seed, arm.steps, metric]) for w, arm in side.weighted)
        for seed in seeds
    ]


def _side_by_sampling(side: Side, scores: Scores, seed: int, metric: str) -> list[float]:
    """Return a side's value of each sampling seed of one training."""
    columns = [[w * value for value in scores[arm.recipe, seed, arm.steps, metric]] for w, arm in side.weighted]
    return [sum(row) for row in zip(*columns, strict=False)]


def _seed(record: Record) -> int:
    return record.recipe["train"]["seed"]
