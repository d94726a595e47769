"""Opening a dataset of any task by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ddp_repro.data.io import DataError
from ddp_repro.data.mixture import MixedDataset
from ddp_repro.data.survey import Survey
from ddp_repro.protocols.registry import task_named, tasks
from ddp_repro.protocols.task import TaskDataset
from ddp_repro.settings.kinds import DataSettings, ModelSettings
from ddp_repro.settings.recipe import Recipe


def build_dataset(
    data: DataSettings,
    split: str,
    *,
    train: bool,
    mean: Sequence[float],
    std: Sequence[float],
    limit: int | None = None,
) -> Any:
    """Open one split of a dataset; for training, also of those that ``data`` adds to it.

    Args:
        split: name of the split, e.g. ``data.train_split``.
        train: whether training samples will be drawn; then indexing is refused, and the other way round.
        mean, std: of the RGB channels on the 0..255 scale.
        limit: use only the first so many images.

    Returns:
        A dataset of the task's own class, which has the parts of :class:`ddp_repro.protocols.task.TaskDataset`.

    Raises:
        DataError: an unknown dataset, a missing or empty folder, or an image without its ground truth (which depth
            datasets leave out and count at evaluation).
    """
    how: dict[str, Any] = {"train": train, "mean": mean, "std": std, "limit": limit}
    if not (data.added and train):
        return _open(data, split, **how)
    parts = (_open(data, split, **how), *(_open(other, other.train_split, **how) for other in data.added))
    return MixedDataset(parts, (1 - sum(data.added_rates), *data.added_rates))


def check_dataset(model: ModelSettings, dataset: TaskDataset) -> None:
    """Refuse a model and a dataset, or a part of a mixed one, that cannot work together.

    A stage that predicts nothing learns from pictures, with whatever truth they have.

    Raises:
        ConfigError: says which setting has to change.
    """
    if not model.predicts:
        return
    for part in dataset.parts if isinstance(dataset, MixedDataset) else (dataset,):
        task_named(model.task).check(model, part)


def survey_dataset(recipe: Recipe, dataset: TaskDataset) -> list[Survey]:
    """Count what the ground truth of a training dataset, or of each part of a mixed one, holds.

    Raises:
        DataError: a file that training would stumble over; it is named.
    """
    parts = dataset.parts if isinstance(dataset, MixedDataset) else (dataset,)
    task = task_named(recipe.model.task)
    return list(filter(None, (task.survey(part, recipe) for part in parts if part.truth == task.truth)))


def _open(data: DataSettings, split: str, **how: Any) -> Any:
    for task in tasks():
        if data.dataset in task.datasets:
            return task.open(data, split, **how)
    raise DataError(f"unknown dataset {data.dataset!r}; expected one of {', '.join(dataset_names())}")


def dataset_names() -> tuple[str, ...]:
    """Return the names of all tasks' datasets."""
    return tuple(name for task in tasks() for name in task.datasets)
