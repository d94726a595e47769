"""Opening a dataset of any task by its name."""

from __future__ import annotations

from collections.abc import Sequence

from ddp_repro.data.io import DataError
from ddp_repro.protocols.registry import tasks
from ddp_repro.protocols.task import TaskDataset
from ddp_repro.settings.kinds import DataSettings


def build_dataset(
    data: DataSettings,
    split: str,
    *,
    train: bool,
    mean: Sequence[float],
    std: Sequence[float],
    limit: int | None = None,
) -> TaskDataset:
    """Open one split of a dataset.

    Args:
        split: name of the split, e.g. ``data.train_split``.
        train: whether training samples will be drawn; then indexing is refused, and the other way round.
        mean, std: of the RGB channels on the 0..255 scale.
        limit: use only the first so many images.

    Raises:
        DataError: an unknown dataset, a missing or empty folder, or an image without its ground truth (which depth
            datasets leave out and count at evaluation).
    """
    for task in tasks():
        if data.dataset in task.datasets:
            return task.open(data, split, train=train, mean=mean, std=std, limit=limit)
    raise DataError(f"unknown dataset {data.dataset!r}; expected one of {', '.join(dataset_names())}")


def dataset_names() -> tuple[str, ...]:
    """Return the names of all tasks' datasets."""
    return tuple(name for task in tasks() for name in task.datasets)
