"""What an evaluation found: one tally per (sampling steps, noise seed), and their spread over seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ddp_repro.evaluation.measure import json_ready, or_nan, spread
from ddp_repro.evaluation.per_image.statistics import ImageStatistics, RunKey
from ddp_repro.protocols.task import Tally, TaskDataset
from ddp_repro.settings.recipe import EvalConfig


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation over noise seeds; NaN where undefined, as the deviation of a single seed."""

    mean: float
    std: float
    seeds: int


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """The outcome of :func:`ddp_repro.evaluation.evaluate.evaluate_model`.

    Attributes:
        images: number of images evaluated.
        tallies: per (steps, seed) the task's counts or measures over all of them.
        per_image: what each of them adds to the tallies.
        class_names: empty for depth.
        scales, flip, view_average: the test-time views, as in :class:`ddp_repro.settings.recipe.EvalConfig`.
        seconds: wall time, with that of a former process whose journal was continued.
    """

    dataset: str
    dataset_fingerprint: str
    class_names: tuple[str, ...]
    images: int
    tallies: dict[RunKey, Tally]
    per_image: ImageStatistics
    scales: tuple[float, ...]
    flip: bool
    view_average: str
    seconds: float

    @property
    def steps(self) -> tuple[int, ...]:
        """The step counts evaluated, ascending."""
        return tuple(sorted({steps for steps, _ in self.tallies}))

    def seeds(self, steps: int) -> tuple[int | None, ...]:
        """Return the noise seeds evaluated at ``steps``."""
        return tuple(seed for count, seed in self.tallies if count == steps)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the measures, the most important first."""
        return next(iter(self.tallies.values())).metrics

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better of the first measure."""
        return next(iter(self.tallies.values())).higher_is_better

    def summary(self, steps: int, metric: str | None = None) -> Summary:
        """Spread of a measure (a fraction, not percent) over the noise seeds; by default of the first.

        Raises:
            ValueError: ``steps`` was not evaluated.
        """
        values = [self.tallies[steps, seed].value(metric or self.metrics[0]) for seed in self.seeds(steps)]
        if not values:
            raise ValueError(
                f"{steps} steps were not evaluated; there are results for {', '.join(map(str, self.steps))}"
            )
        mean, std = spread(values)
        return Summary(mean, or_nan(std), len(values))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; undefined numbers (NaN) become null.  What each image adds is left out."""
        return {
            "dataset": self.dataset,
            "dataset_fingerprint": self.dataset_fingerprint,
            "class_names": list(self.class_names),
            "images": self.images,
            "scales": list(self.scales),
            "flip": self.flip,
            "view_average": self.view_average,
            "seconds": self.seconds,
            "runs": [_run_to_dict(key, tally) for key, tally in self.tallies.items()],
            "summary": [self._summary_to_dict(steps) for steps in self.steps],
        }

    def _summary_to_dict(self, steps: int) -> dict[str, Any]:
        summaries = {metric: self.summary(steps, metric) for metric in self.metrics}
        spreads = {metric: json_ready({"mean": s.mean, "std": s.std}) for metric, s in summaries.items()}
        return {"steps": steps, "seeds": len(self.seeds(steps)), **spreads}


def run_keys(evaluation: EvalConfig, *, has_noise: bool, has_steps: bool) -> list[RunKey]:
    """Return every (steps, seed) to evaluate: one step where there are no steps, no seed where there is no noise."""
    counts = evaluation.steps if has_steps else (1,)
    seeds = evaluation.seeds if has_noise else (None,)
    return [(steps, seed) for steps in counts for seed in seeds]


def class_names(dataset: TaskDataset) -> tuple[str, ...]:
    """Return the names of a dataset's classes; a depth dataset has none."""
    return tuple(getattr(dataset, "class_names", ()))


def _run_to_dict(key: RunKey, tally: Tally) -> dict[str, Any]:
    steps, seed = key
    return {"steps": steps, "seed": seed, **json_ready(tally.to_dict())}
