"""What an evaluation found: one confusion matrix per (sampling steps, noise seed), and their spread over seeds."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from ddp_repro.config import EvalConfig
from ddp_repro.evaluation.metrics import ConfusionMatrix

RunKey = tuple[int, int | None]  # (steps, seed); the baseline has no noise, its only run is (1, None)
Metric = Literal["miou", "macc", "aacc"]


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation over noise seeds; the deviation of a single seed is NaN."""

    mean: float
    std: float
    seeds: int


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """The outcome of :func:`ddp_repro.evaluation.evaluate_model`.

    Attributes:
        images: number of images evaluated.
        matrices: per (steps, seed) the confusion matrix over all of them.
        scales, flip, view_average: the test-time views, as in :class:`ddp_repro.config.EvalConfig`.
        seconds: wall time.
    """

    dataset: str
    dataset_fingerprint: str
    class_names: tuple[str, ...]
    images: int
    matrices: dict[RunKey, ConfusionMatrix]
    scales: tuple[float, ...]
    flip: bool
    view_average: str
    seconds: float

    @property
    def steps(self) -> tuple[int, ...]:
        """The step counts evaluated, ascending."""
        return tuple(sorted({steps for steps, _ in self.matrices}))

    def seeds(self, steps: int) -> tuple[int | None, ...]:
        """The noise seeds evaluated at ``steps``."""
        return tuple(seed for count, seed in self.matrices if count == steps)

    def summary(self, steps: int, metric: Metric = "miou") -> Summary:
        """Spread of a metric (a fraction, not percent) over the noise seeds.

        Raises:
            ValueError: ``steps`` was not evaluated.
        """
        values = [getattr(self.matrices[steps, seed], metric) for seed in self.seeds(steps)]
        if not values:
            raise ValueError(
                f"{steps} steps were not evaluated; there are results for {', '.join(map(str, self.steps))}"
            )
        std = statistics.stdev(values) if len(values) > 1 else math.nan
        return Summary(statistics.fmean(values), std, len(values))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; undefined numbers (NaN) become null.  Confusion matrices are left out."""
        return {
            "dataset": self.dataset,
            "dataset_fingerprint": self.dataset_fingerprint,
            "class_names": list(self.class_names),
            "images": self.images,
            "scales": list(self.scales),
            "flip": self.flip,
            "view_average": self.view_average,
            "seconds": self.seconds,
            "runs": [_run_to_dict(key, matrix) for key, matrix in self.matrices.items()],
            "summary": [self._summary_to_dict(steps) for steps in self.steps],
        }

    def _summary_to_dict(self, steps: int) -> dict[str, Any]:
        metrics: tuple[Metric, ...] = ("miou", "macc", "aacc")
        summaries = {metric: self.summary(steps, metric) for metric in metrics}
        spread = {m: {"mean": or_none(s.mean), "std": or_none(s.std)} for m, s in summaries.items()}
        return {"steps": steps, "seeds": summaries["miou"].seeds, **spread}


def run_keys(evaluation: EvalConfig, diffusion: bool) -> list[RunKey]:
    """Every (steps, seed) to evaluate; the non-diffusion baseline has neither."""
    return [(steps, seed) for steps in evaluation.steps for seed in evaluation.seeds] if diffusion else [(1, None)]


def or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value


def _run_to_dict(key: RunKey, matrix: ConfusionMatrix) -> dict[str, Any]:
    steps, seed = key
    scores = {"miou": or_none(matrix.miou), "macc": or_none(matrix.macc), "aacc": or_none(matrix.aacc)}
    return {
        "steps": steps,
        "seed": seed,
        **scores,
        "iou": _to_list(matrix.iou()),
        "accuracy": _to_list(matrix.accuracy()),
    }


def _to_list(values: Tensor) -> list[float | None]:
    return [or_none(value) for value in values.tolist()]
