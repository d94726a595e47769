"""mIoU and mBIoU of the segmentor alone, and of its refinement after every step of one sampling run."""

from __future__ import annotations

from typing import cast

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ddp_repro.diffusion import image_generator
from ddp_repro.diffusion.discrete import SamplerName
from ddp_repro.diffusion.label_noise import ImageLabelNoise
from ddp_repro.evaluation.processes import prefetched, rank_and_world, sum_over_processes
from ddp_repro.evaluation.views import View, ViewedImage, best_class, inference_mode, model_device, view_image
from ddp_repro.papers.ddps.model import DDPS
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.recipe import EvalConfig
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset
from ddp_repro.tasks.segmentation.metrics import ClassCounts

MEASURES = ("miou", "mbiou")


@dataclass(frozen=True)
class Curve:
    """The scores after each visited step of one run, in percent; None where undefined."""

    sampler: SamplerName
    seed: int
    steps: list[int]
    miou: list[float | None]
    mbiou: list[float | None]


@dataclass(frozen=True)
class Curves:
    """The outcome of :func:`evaluate_curves`, in percent.

    Attributes:
        base: of the segmentor alone, by measure.
    """

    base: dict[str, float | None]
    curves: list[Curve]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return dataclasses.asdict(self)


def evaluate_curves(
    model: DDPS,
    dataset: SegmentationDataset,
    *,
    steps: int,
    seeds: Sequence[int],
    samplers: Sequence[SamplerName],
    limit: int | None = None,
    progress: bool = True,
) -> Curves:
    """Score the segmentor and every step of runs with each sampler and seed; each image is encoded once.

    Args:
        steps: n, of the steps that the released code visits.

    Raises:
        ConfigError: a model of another number of classes, steps beyond T, or weights without the segmentor's
            classifier.
        DataError: a damaged image or label.
    """
    task_named(model.config.task).check(model.config, dataset)
    tallies = _Tallies(model, model.steps_of(steps), tuple(seeds), tuple(samplers))
    rank, world = rank_and_world()
    share = range(rank, min(len(dataset), limit or len(dataset)), world)
    images = prefetched(lambda index: view_image(dataset, index, [View()]), share, ahead=2)
    with inference_mode(model):
        for image in tqdm(images, total=len(share), unit="image", disable=not progress or rank > 0):
            tallies.add(image)
    return tallies.result()


class _Tallies:
    """Counts over the images of this process, then of all."""

    def __init__(
        self, model: DDPS, visited: list[int], seeds: tuple[int, ...], samplers: tuple[SamplerName, ...]
    ) -> None:
        self.model, self.visited, self.device = model, visited, model_device(model)

        def empty() -> ClassCounts:
            return cast(ClassCounts, task_named(model.config.task).tally(model.config, EvalConfig(boundary=True)))

        self.base = empty()
        runs: list[tuple[SamplerName, int]] = [(name, seed) for name in samplers for seed in seeds]
        self.runs: dict[tuple[SamplerName, int], list[ClassCounts]] = {run: [empty() for _ in visited] for run in runs}

    def add(self, image: ViewedImage) -> None:
        features = self.model.encode_image(image.views[0][None].to(self.device))
        label = image.truth.to(self.device)
        self._count(self.base, self.model.base_prediction(features), image, label)
        for (sampler, seed), tallies in self.runs.items():
            run = self.model.denoise(features, self.visited, self._noise(features, image, seed), sampler)
            for tally, step in zip(tallies, run, strict=True):
                self._count(tally, self.model.in_label_order(step.logits), image, label)

    def _noise(self, features: Tensor, image: ViewedImage, seed: int) -> ImageLabelNoise:
        shape = (self.model.config.symbols, features.shape[-2], features.shape[-1])
        return ImageLabelNoise(shape, 1, [image_generator(seed, image.id)], self.device)

    def _count(self, tally: ClassCounts, logits: Tensor, image: ViewedImage, label: Tensor) -> None:
        prediction = best_class(logits[0], image.input_size, image.size)[1]
        tally.update(prediction, label)

    def result(self) -> Curves:
        for tally in (self.base, *(each for run in self.runs.values() for each in run)):
            for pixels in filter(None, (tally, tally.boundary)):
                pixels.counts = sum_over_processes(pixels.counts, self.device)
        curves = [
            Curve(sampler, seed, self.visited, **{name: [_percent(t, name) for t in tallies] for name in MEASURES})
            for (sampler, seed), tallies in self.runs.items()
        ]
        return Curves(_scores(self.base), curves)


def _scores(tally: ClassCounts) -> dict[str, float | None]:
    return {name: _percent(tally, name) for name in MEASURES}


def _percent(tally: ClassCounts, measure: str) -> float | None:
    value = 100 * tally.value(measure)
    return value if math.isfinite(value) else None
