"""Check whether a prior reads its noisy map: without that, nothing it does says anything about samplers or steps.

At each step of a sampling run the prior is given the map of something else, and its prediction is scored
(:mod:`ddp_repro.evaluation.map_use` says what the kinds of maps mean).  A clean map is noised to the level of the step
as in training and in free re-noising, always with the same random numbers: those of the sampling run.  The map that
says nothing ("zero") is symbol 0, unlabelled, everywhere.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.diffusion import image_generator
from ddp_repro.diffusion.discrete import noise_labels
from ddp_repro.diffusion.label_noise import ImageLabelNoise
from ddp_repro.evaluation.map_use import MAPS, MapUse, score_images
from ddp_repro.evaluation.views import View, ViewedImage, best_class, model_device, view_image
from ddp_repro.papers.ddps.model import DDPS
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.checks import check_distinct, check_positive
from ddp_repro.settings.errors import ConfigError
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset
from ddp_repro.tasks.segmentation.metrics import ClassCounts


def evaluate_map_use(
    model: DDPS,
    dataset: SegmentationDataset,
    *,
    steps: int = 3,
    seeds: Sequence[int] = (0,),
    limit: int | None = None,
    progress: bool = True,
) -> MapUse:
    """Score every kind of map at every visited step of free re-noising over a dataset.

    Under torchrun every process takes a share of the images and returns the same result.

    Args:
        steps: n, of the steps that the released code visits.
        limit: first so many images only; at least 2.

    Raises:
        ConfigError: an impossible setting, a model of one step, or one that does not fit the dataset.
        DataError: a damaged image.
    """
    task_named(model.config.task).check(model.config, dataset)
    check_positive(limit=limit)
    check_distinct(seeds=tuple(seeds))
    count, visited = min(len(dataset), limit or len(dataset)), model.steps_of(steps)
    if len(visited) < 2:
        raise ConfigError("the first step reads noise alone: a prior of one step has no map to read")
    if count < 2:
        raise ConfigError(f"the map of another image needs at least 2 images; got {count}")
    started = time.perf_counter()
    statistics = score_images(
        model, count, lambda index: view_image(dataset, index, [View()]),
        lambda index: torch.from_numpy(dataset.load(index)[1]),
        lambda image, other, seed: _score_maps(model, image, other, visited, seed),
        seeds=seeds, shape=(len(visited), len(MAPS), model.config.num_classes, 2), progress=progress,
    )  # fmt: skip
    last = model.config.levels - 1
    return MapUse(
        dataset=dataset.name, dataset_fingerprint=dataset.fingerprint(), images=count, seeds=tuple(seeds),
        measure="miou", times=tuple((last - step) / last for step in visited),
        levels=tuple(1 - kept for kept in _kept(model, visited).tolist()),
        statistics=statistics, seconds=time.perf_counter() - started,
    )  # fmt: skip


def _score_maps(model: DDPS, image: ViewedImage, other: Tensor, visited: list[int], seed: int) -> Tensor:
    """Return intersection and union of each map at each step; (S, 5, C, 2)."""
    features = model.encode_image(image.views[0][None].to(model_device(model)))
    (height, width), device = features.shape[-2:], features.device
    shape = model.config.symbols, height, width
    noise = ImageLabelNoise(shape, 1, [image_generator(seed, image.id)], device)
    fresh = ImageLabelNoise(shape, 1, [image_generator(seed, f"{image.id}#fresh")], device).start()
    true, another = (_symbols(model, label.to(device), features) for label in (image.truth, other))
    clean = torch.cat([true, another, torch.zeros_like(true)])  # (3, h, w)
    rows = []
    for step, kept in zip(model.denoise(features, visited, noise, "free"), _kept(model, visited), strict=True):
        uniform = noise.uniform(step.step).expand(3, -1, -1, -1)
        true_, other_, zero = noise_labels(clean, kept.expand(3).to(device), uniform)
        maps = torch.stack([true_, step.noisy[0], other_, zero, fresh[0]])  # in the order of MAPS
        at = torch.full((len(maps),), step.step, device=device)
        condition = features.expand(len(maps), -1, -1, -1)
        logits = model.in_label_order(model.prior.guided(condition, maps, at, model.config.guidance).float())
        rows.append(torch.stack([_counted(model, each, image) for each in logits]))
    return torch.stack(rows).double()


def _symbols(model: DDPS, label: Tensor, features: Tensor) -> Tensor:
    """Return the symbols (1, h, w) of labels (H, W) at the prior's size."""
    small = F.interpolate(label[None, None].float(), features.shape[-2:], mode="nearest")[:, 0]
    return model.symbols_of(small.long())


def _kept(model: DDPS, visited: list[int]) -> Tensor:
    """Return how much of a clean map is left at each visited step, (S,)."""
    levels = model.config.levels - 1 - torch.tensor(visited)
    return model.prior.schedule.cumulative.cpu()[levels]


def _counted(model: DDPS, logits: Tensor, image: ViewedImage) -> Tensor:
    """Return intersection and union (C, 2) of logits (K', h, w); "unlabelled" is no class of the data set."""
    labels = best_class(logits, image.input_size, image.size)[1]
    counts = ClassCounts(model.config.output_classes).count(labels.cpu(), image.truth)
    return counts[:2, : model.config.num_classes].T
