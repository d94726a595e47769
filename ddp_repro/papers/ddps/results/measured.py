"""The curves of a small preset's arms over their steps, by training seed."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddp_repro.papers.ddps.recipes import ARMS, Arm, name_of, stages
from ddp_repro.settings.training_seeds import split_seed
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.runs.analyses import find_analyses
from ddp_repro.workbook.runs.records import Record, find_records


@dataclass(frozen=True)
class Training:
    """One training of an arm: scores in percent, each the mean over sampling seeds; None where undefined."""

    run: str
    seed: int
    result: dict[str, Any]

    def base(self, measure: str) -> float | None:
        """Return what the frozen segmentor reaches alone."""
        return self.result["base"][measure]

    def curve(self, measure: str, sampler: str = "free") -> list[float | None]:
        """Return the scores after each visited step."""
        curves = [curve[measure] for curve in self.result["curves"] if curve["sampler"] == sampler]
        return [_mean(values) for values in zip(*curves, strict=True)]

    def score(self, measure: str, sampler: str = "free", *, last: bool = True) -> float | None:
        """Return the score after the last visited step, or after the first."""
        return self.curve(measure, sampler)[-1 if last else 0]

    def steps(self, sampler: str = "free") -> list[int]:
        """Return the visited steps."""
        return next(curve["steps"] for curve in self.result["curves"] if curve["sampler"] == sampler)

    def visited(self, sampler: str = "free") -> int:
        """Return how many steps were visited."""
        return len(self.steps(sampler))

    def macs(self, calls: int) -> int:
        """Return the MACs of an image with this many calls of the prior."""
        return self.result["macs"]["segmentor"] + calls * self.result["macs"]["step"]


@dataclass(frozen=True)
class Measured:
    """Everything measured of a preset's arms.

    Attributes:
        by_arm: trainings of each arm, by seed.
        records: of all of them.
    """

    preset: str
    dataset: str
    by_arm: dict[Arm, dict[int, Training]]
    records: list[Record]

    @classmethod
    def of(cls, preset: str, output: str | Path = "results") -> Measured:
        """Read what lies in ``<output>/<preset>``.

        Raises:
            ConfigError: the preset has no arms.
        """
        main = stages(preset, which=("multi",))[-1][0]
        names: dict[str, Arm] = {name_of(preset, arm): arm for arm in ARMS}
        by_arm: dict[Arm, dict[int, Training]] = {arm: {} for arm in ARMS}
        for analysis in find_analyses("samplers", preset, output):
            name, seed = split_seed(analysis.run)
            if name in names:
                number = recipe(name, preset).train.seed if seed is None else seed
                by_arm[names[name]][number] = Training(analysis.run, number, analysis.result)
        records = [r for r in find_records(preset, output) if split_seed(r.name)[0] in names]
        return cls(preset, main.data.dataset, by_arm, records)

    def trainings(self, arm: Arm) -> list[Training]:
        """Return an arm's trainings in the order of their seeds."""
        return [training for _, training in sorted(self.by_arm[arm].items())]


def _mean(values: tuple[float | None, ...]) -> float | None:
    return None if None in values else statistics.fmean(value for value in values if value is not None)
