"""Ask what more sampling steps add, and where it comes from: the map, another look at the image, or averaging.

The last of K steps differs from a single step in two things: the decoder is told another time, which makes it another
network, and its map holds what the steps before it predicted.  They are told apart by a run of K steps whose last map
says nothing.  With s(K) the score of K steps, e(K) that of the same last step on an empty map and a(K) that of the mean
over all K predictions:

- another look: e(K) - s(1), which needs no diffusion;
- the map: s(K) - e(K), which is what diffusion adds;
- averaging: a(K) - s(K), on top of both where a model averages its steps.

Two maps say nothing: z₀ = 0 noised to the level of the step (the level is what the decoder expects), and noise alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddp_repro.evaluation.map_use import MapMeasure, advantage, anything_measured, score_images, scores_of
from ddp_repro.evaluation.measure import json_ready
from ddp_repro.evaluation.resampling import ImageScores
from ddp_repro.evaluation.statistics import Estimate
from ddp_repro.networks.shapes import shape_of, tokens_of
from ddp_repro.papers.ddp.diagnostics.scoring import (
    EvaluationImage,
    Scorer,
    noised,
    scorer_of,
    start_of,
    told_and_level,
)
from ddp_repro.papers.ddp.model import DDP
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.checks import check_distinct, check_positive
from ddp_repro.settings.errors import ConfigError
from ddp_repro.tasks.depth.protocols import Protocol

Part = Literal["steps", "zero", "noise", "average"]
PARTS: tuple[Part, ...] = get_args(Part)
Gain = Literal["total", "look", "map", "look_noise", "map_noise", "average"]
# What is better than what: (part, at K steps or at one).
GAINS: dict[Gain, tuple[tuple[Part, bool], tuple[Part, bool]]] = {
    "total": (("steps", True), ("steps", False)),
    "look": (("zero", True), ("steps", False)),
    "map": (("steps", True), ("zero", True)),
    "look_noise": (("noise", True), ("steps", False)),
    "map_noise": (("steps", True), ("noise", True)),
    "average": (("average", True), ("steps", True)),
}


@dataclass(frozen=True, kw_only=True)
class StepGains:
    """What the last step of runs of several lengths scores, on its map and on an empty one.

    Attributes:
        measure: "miou" (BEV: at the threshold 0.5), or "rel", which is better when lower.
        steps: lengths of the runs, 1 first.
        statistics: of each image, by (seed, length, part in the order of :data:`PARTS`, image): mIoU's intersection and
            union of each class (…, K, 2) in pixels, or REL (…).
    """

    images: int
    seeds: tuple[int, ...]
    measure: MapMeasure
    steps: tuple[int, ...]
    statistics: NDArray[np.float64]
    seconds: float

    def image_scores(self, part: Part, steps: int) -> ImageScores:
        """Return what a score is made of, with the seeds as repetitions."""
        return scores_of(self.statistics[:, self.steps.index(steps), PARTS.index(part)], self.measure)

    def score(self, part: Part, steps: int) -> float:
        """Return the mean over the seeds of the score of all images, as a fraction."""
        scores = self.image_scores(part, steps)
        return float(scores.resampled(np.ones((1, scores.images))).mean())

    def gain(self, kind: Gain, steps: int) -> Estimate:
        """Estimate a gain (see the top of this file) over images and seeds; positive is better."""
        (first, more), (second, as_many) = GAINS[kind]
        better = self.image_scores(first, steps if more else 1)
        return advantage(better, self.image_scores(second, steps if as_many else 1), self.measure)

    def to_dict(self) -> dict[str, Any]:
        """Return scores and gains JSON-ready, mIoU in percent; without anything to measure, no rows."""
        factor = 100.0 if self.measure == "miou" else 1.0
        rows = []
        for steps in self.steps if anything_measured(self.statistics, self.measure) else ():
            row: dict[str, Any] = {"steps": steps}
            row["scores"] = {part: factor * self.score(part, steps) for part in PARTS}
            gains = {kind: self.gain(kind, steps).scaled(factor) for kind in GAINS} if steps > 1 else {}
            row["gains"] = {kind: estimate.interval().to_dict() for kind, estimate in gains.items()}
            rows.append(row)
        return json_ready({"measure": self.measure, "rows": rows})


def evaluate_gain(
    model: DDP,
    dataset: Any,
    *,
    steps: Sequence[int] = (1, 2, 3, 5, 10),
    seeds: Sequence[int] = (0, 1),
    protocol: Protocol | None = None,
    limit: int | None = None,
    progress: bool = True,
) -> StepGains:
    """Score the last step of sampling runs over a dataset, on its map and on an empty one.

    Images go through the network one by one, and noise belongs to (seed, image), as in an evaluation: "steps" scores
    what an evaluation scores, for a model that does not average its steps.

    Args:
        dataset: a dataset of the model's task: segmentation, depth or BEV.
        steps: lengths of the runs; 1 must be among them.
        protocol: depth only, and needed there.
        limit: first so many images only.

    Raises:
        ConfigError: an impossible setting, a model without diffusion, or one that does not fit the dataset.
        DataError: a damaged image.
        RuntimeError: the model's output is not finite.
    """
    if not isinstance(model, DDP):
        raise ConfigError("a model without diffusion has no steps to add")
    task_named(model.config.task).check(model.config, dataset)
    check_positive(limit=limit)
    check_distinct(seeds=tuple(seeds), steps=tuple(steps))
    lengths = tuple(sorted(steps))
    if lengths[0] != 1:
        raise ConfigError(f"gains are over one step: steps must be at least 1, and 1 among them; got {list(steps)}")
    scorer, started = scorer_of(model, dataset, protocol), time.perf_counter()
    count = min(len(dataset), limit or len(dataset))
    statistics = score_images(
        model, count, scorer.load, scorer.truth,
        lambda image, _, seed: _score_runs(model, scorer, image, lengths, seed),
        seeds=seeds, shape=(len(lengths), len(PARTS), *scorer.shape), progress=progress,
    )  # fmt: skip
    return StepGains(
        images=count, seeds=tuple(seeds), measure=scorer.measure, steps=lengths, statistics=statistics,
        seconds=time.perf_counter() - started,
    )  # fmt: skip


def _score_runs(model: DDP, scorer: Scorer, image: EvaluationImage, lengths: Sequence[int], seed: int) -> Tensor:
    """Score what runs of these lengths end with; float64 (L, 4, K, 2), or (L, 4) of REL."""
    features, rows = scorer.encode(image), []
    for steps in lengths:
        outputs = _last_outputs(model, features, image.id, steps, seed)
        if not outputs.isfinite().all():
            raise RuntimeError(f"the model's output is not finite for image {image.id}; check its weights")
        rows.append(torch.stack([scorer.score(output, image) for output in outputs]))
    return torch.stack(rows).double()


def _last_outputs(model: DDP, features: Tensor, image_id: str, steps: int, seed: int) -> Tensor:
    """Return what a run of ``steps`` ends with, in the order of :data:`PARTS`; (4, C, h, w)."""
    shape = shape_of(features)
    noise, generator, fresh = start_of(model, features, image_id, seed)  # (1, M, h, w)
    run = DDP.sample(model, features=features, steps=steps, noise=noise, generator=generator, return_trajectory=True)
    told, level = told_and_level(model, steps)[-1]
    empty = torch.cat([noised(model, torch.zeros_like(noise), noise, level), fresh])  # (2, M, h, w)
    fused = model.project_features(features) + model.project_map(tokens_of(empty))  # (2, h·w, D)
    zero, new = model.denoise(fused, shape, torch.full((2,), told, device=features.device)).float()
    own = [decoded.float() for decoded in run.decoded]
    last = model.finish([torch.stack([own[-1][0], zero, new])], False)
    return torch.cat([last, model.finish(own, True)])
