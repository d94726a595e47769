"""Whether a diffusion model reads its noisy map: scores with other maps in place of the sampler's own.

How a map is made is the paper's; what the kinds mean is not:

- "true": the ground truth, noised to the level of the step;
- "prediction": the sampler's own map, exactly as in sampling;
- "other": another image's ground truth, noised alike;
- "zero": a map that says nothing, noised alike;
- "noise": noise alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from ddp_repro.evaluation.measure import json_ready, or_none
from ddp_repro.evaluation.processes import prefetched, rank_and_world, sum_over_processes
from ddp_repro.evaluation.resampling import ImageScores, MeanIoU, MeanScores, hierarchical_bootstrap, image_bootstrap
from ddp_repro.evaluation.statistics import LEVEL, Estimate
from ddp_repro.evaluation.views import inference_mode, model_device

MapMeasure = Literal["miou", "rel"]
MapKind = Literal["true", "prediction", "other", "zero", "noise"]
MAPS: tuple[MapKind, ...] = get_args(MapKind)


@dataclass(frozen=True, kw_only=True)
class MapUse:
    """What a model makes of each kind of map, at each step of sampling runs.

    Attributes:
        measure: "miou" (BEV: at the threshold 0.5), or "rel", which is better when lower.
        times, levels: per step, the time that the network is told and the noise level of its map; both in [0, 1].
        statistics: of each image, by (seed, step, map in the order of :data:`MAPS`, image): mIoU's intersection and
            union of each class (…, K, 2) in pixels, or REL (…).
    """

    dataset: str
    dataset_fingerprint: str
    images: int
    seeds: tuple[int, ...]
    measure: MapMeasure
    times: tuple[float, ...]
    levels: tuple[float, ...]
    statistics: NDArray[np.float64]
    seconds: float

    def image_scores(self, kind: MapKind, step: int = -1) -> ImageScores:
        """Return what the score of a map at a step is made of, with the seeds as repetitions."""
        return scores_of(self.statistics[:, step, MAPS.index(kind)], self.measure)

    @property
    def is_defined(self) -> bool:
        """Whether any image has something to measure."""
        return anything_measured(self.statistics, self.measure)

    def score(self, kind: MapKind, step: int = -1) -> float:
        """Return the mean over the seeds of the score of all images, as a fraction; NaN where it is undefined."""
        if not self.is_defined:
            return math.nan
        scores = self.image_scores(kind, step)
        return float(scores.resampled(np.ones((1, scores.images))).mean())

    def effect(self, step: int = -1, against: MapKind = "other") -> Estimate:
        """Estimate by how much the true map is better than another: positive where the network reads it.

        Another image's map is the fair comparison: it has everything of a map but the right content.  A zero map may
        also be worse for being unlike any map of the training.  The last step has the cleanest map, so that one counts.
        """
        if not self.is_defined:
            return Estimate(value=math.nan, error=math.inf, freedom=1, count=self.images, unit="images", method="none")
        better, worse = (self.image_scores(kind, step) for kind in ("true", against))
        return advantage(better, worse, self.measure)

    def uses_map(self, minimum: float, level: float = LEVEL) -> bool:
        """Return whether the interval of :meth:`effect` lies above ``minimum``, a fraction as the scores are."""
        return self.effect().interval(level).low > minimum

    def to_dict(self, *, per_image: bool = True, factor: float = 1.0) -> dict[str, Any]:
        """Return everything JSON-ready; undefined numbers become null.

        Args:
            per_image: also each image's own score, by map (mIoU: over the classes that occur in it).
            factor: of scores and effects, which are fractions; 100 gives percent.
        """
        steps = []
        for step, (told, level) in enumerate(zip(self.times, self.levels, strict=True)):
            row = {"time": told, "level": level, "scores": {kind: factor * self.score(kind, step) for kind in MAPS}}
            row["effect"] = self.effect(step).scaled(factor).interval().to_dict()
            if per_image:
                row["per_image"] = {kind: self._scores_of_images(kind, step, factor) for kind in MAPS}
            steps.append(row)
        names = ("dataset", "dataset_fingerprint", "images", "measure", "seconds")
        facts = {name: getattr(self, name) for name in names}
        return json_ready(facts | {"seeds": list(self.seeds), "steps": steps, "effect": steps[-1]["effect"]})

    def _scores_of_images(self, kind: MapKind, step: int, factor: float) -> list[float | None]:
        values = self.statistics[:, step, MAPS.index(kind)]  # (seeds, N) or (seeds, N, K, 2)
        if self.measure == "miou":
            iou = torch.from_numpy(values[..., 0]) / torch.from_numpy(values[..., 1])  # 0 / 0 = NaN: not in the image
            values = iou.nanmean(-1).numpy()
        return [or_none(factor * value) for value in values.mean(0).tolist()]


def scores_of(values: NDArray[np.float64], measure: MapMeasure) -> ImageScores:
    """Return what a score is made of, with sampling seeds as repetitions: mIoU of (S, N, K, 2), REL of (S, N)."""
    if measure == "rel":
        return MeanScores(values[:, ~np.isnan(values[0])])  # images with a depth that counts
    return MeanIoU(values[..., 0], values[..., 1])


def anything_measured(statistics: NDArray[np.float64], measure: MapMeasure) -> bool:
    """Return whether any image has something to measure."""
    return bool((~np.isnan(statistics)).any() if measure == "rel" else statistics[..., 1].any())


def advantage(first: ImageScores, second: ImageScores, measure: MapMeasure) -> Estimate:
    """Estimate by how much the first is better than the second, over images and sampling seeds."""
    several = first.repetitions > 1
    estimate = hierarchical_bootstrap(first, second, "sampling seeds") if several else image_bootstrap(first, second)
    return estimate.scaled(-1) if measure == "rel" else estimate


def score_images(
    model: nn.Module, count: int, load: Callable[[int], Any], truth: Callable[[int], Tensor],
    score: Callable[[Any, Tensor, int], Tensor], *, seeds: Sequence[int], shape: Sequence[int], progress: bool,
) -> NDArray[np.float64]:  # fmt: skip
    """Return :attr:`MapUse.statistics` of images, one by one; every process takes a share, and has the same result.

    Args:
        load: reads an image by its number, below ``count``.
        truth: reads the ground truth alone: that of the image half a data set away, for the next may be a film's next.
        score: of an image, another one's truth and a sampling seed: what its scores are made of, ``shape``.
        shape: two dimensions (for a map's use: steps and maps), and that of an image's score behind.
    """
    statistics = torch.zeros(len(seeds), *shape[:2], count, *shape[2:], dtype=torch.float64)
    rank, world = rank_and_world()
    share = range(rank, count, world)
    loaded = prefetched(lambda index: (load(index), truth((index + count // 2) % count)), share, ahead=2)
    bar = tqdm(share, unit="image", disable=not progress or rank > 0)
    with inference_mode(model):
        for index, (image, other) in zip(bar, loaded, strict=True):
            for row, seed in enumerate(seeds):
                statistics[row, :, :, index] = score(image, other, seed)
    return sum_over_processes(statistics, model_device(model)).numpy()
