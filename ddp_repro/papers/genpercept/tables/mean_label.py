"""The mean label of the training pictures as a prediction: what a model that looks at its picture must beat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.papers.genpercept import recipes
from ddp_repro.papers.genpercept.labels import label_of
from ddp_repro.papers.genpercept.settings import ModelConfig
from ddp_repro.protocols.registry import task_named
from ddp_repro.protocols.task import Constant, Tally
from ddp_repro.settings.overrides import override, parse_overrides
from ddp_repro.settings.recipe import EvalConfig, Recipe
from ddp_repro.workbook.runs.constant import ConstantScore, load_constant, score_constant
from ddp_repro.workbook.runs.records import Record

FILE, WORDS = "mean_label.json", "mean label of the training pictures, no network"


def score_mean_labels(number: int, preset: str, output: str | Path = "results", overrides: Sequence[str] = ()) -> None:
    """Score the mean label for the recipes of a table, one of each task and dataset, unless that is done.

    Under ``paper`` nothing is done: tens of thousands of labels would have to be read.

    Raises:
        DataError: missing or damaged pictures.
    """
    if preset == "paper":
        return
    changes = parse_overrides(list(overrides))
    rows = [override(r, changes) for r in recipes.recipes(preset).values() if r.table == f"genpercept_table{number}"]
    for recipe in {_kind(row): row for row in reversed(rows)}.values():
        score_mean_label(recipe, output)


def score_mean_label(recipe: Recipe, output: str | Path = "results") -> ConstantScore:
    """Score the mean label for a recipe's evaluation, unless that is done; reads every training label.

    Raises:
        DataError: missing or damaged pictures.
    """
    return score_constant(recipe, output, mean_label_constant(recipe))


def load_mean_label(record: Record, output: str | Path = "results") -> ConstantScore | None:
    """Return what :func:`score_mean_label` left for the recipe of a record; None where it was not asked for.

    Raises:
        RecordError: the file is damaged.
    """
    recipe = record.settings()
    task = task_named(recipe.model.task)
    return load_constant(task, record.run, record.preset, output, mean_label_constant(recipe))


def mean_label_constant(recipe: Recipe) -> Constant:
    """Return the mean label as the constant prediction of a recipe."""
    config, task = cast(ModelConfig, recipe.model), task_named(recipe.model.task)

    def evaluate(train: Any, dataset: Any, evaluation: EvalConfig) -> Tally:
        prediction, tally = mean_label(train, config), task.tally(config, evaluation)
        for index in range(min(len(dataset), evaluation.limit or len(dataset))):
            truth = torch.as_tensor(dataset.load(index)[1])
            statistics = tally.image_statistics(_resized(prediction, truth, config), truth)
            tally.add({name: np.asarray(values)[None] for name, values in statistics.items()})
        return tally

    return Constant(FILE, WORDS, evaluate)


def mean_label(dataset: Any, config: ModelConfig) -> Tensor:
    """Return the mean of a dataset's labels at every pixel, as a prediction of the first one's size.

    Returns:
        (H, W) in [0, 1] of depth, disparity, masks and mattes; (3, H, W) normals; of classes the most frequent, (H, W).
    """
    if config.task == "segmentation":
        return _most_frequent(dataset, config.num_classes)
    total, count = torch.zeros(()), torch.zeros(())
    for index in range(len(dataset)):
        truth = torch.as_tensor(dataset.load(index)[1])
        label = label_of({dataset.truth: truth[None]}, config)
        values = torch.where(label.valid, label.values, 0)
        if index == 0:
            total, count = torch.zeros_like(values[0]), torch.zeros_like(values[0, :1])
        size = total.shape[-2:]
        total = total + F.interpolate(values, size, mode="nearest")[0]
        count = count + F.interpolate(label.valid.float(), size, mode="nearest")[0]
    mean = total / count.clamp(min=1)
    # A pixel that no picture has a label of gets the mean of all.
    mean = torch.where(count > 0, mean, total.sum((1, 2), keepdim=True) / count.sum().clamp(min=1))
    return F.normalize(mean, dim=0) if config.task == "normals" else (mean[0] + 1) / 2


def _most_frequent(dataset: Any, classes: int) -> Tensor:
    first = torch.as_tensor(dataset.load(0)[1])
    counts = torch.zeros(classes, *first.shape)
    for index in range(len(dataset)):
        label = torch.as_tensor(dataset.load(index)[1]).long()
        known = F.one_hot(label.clamp(max=classes), classes + 1)[..., :classes].permute(2, 0, 1).float()
        counts += F.interpolate(known[None], first.shape, mode="nearest")[0]
    return counts.argmax(0)


def _resized(prediction: Tensor, truth: Tensor, config: ModelConfig) -> Tensor:
    size = truth.shape[-2:]
    values = prediction.reshape(1, -1, *prediction.shape[-2:]).float()
    if config.task == "segmentation":
        return F.interpolate(values, size, mode="nearest")[0, 0].to(torch.uint8)
    values = F.interpolate(values, size, mode="bilinear")[0]
    return F.normalize(values, dim=0) if config.task == "normals" else values[0]


def _kind(recipe: Recipe) -> tuple[Any, ...]:
    """Return what recipes share that the same mean label stands for."""
    config = cast(ModelConfig, recipe.model)
    return config.task, config.space, recipe.data, recipe.evaluation.protocol


def same_kind(record: Record, other: Record) -> bool:
    """Say whether the same mean label stands for two records: of one task, on the same data."""
    return _kind(record.settings()) == _kind(other.settings())


def mean_label_of(record: Record, records: Sequence[Record], output: str | Path = "results") -> ConstantScore | None:
    """Return the mean label's scores for a record: its own, or those of a recipe of the same task and data."""
    alike = (candidate for candidate in (record, *records) if same_kind(record, candidate))
    return next(filter(None, (load_mean_label(candidate, output) for candidate in alike)), None)
