"""Requests that cannot be met are refused before the first image is read."""

from __future__ import annotations

from torch import nn

from ddp_repro.config import ConfigError
from ddp_repro.data import SegmentationDataset

MAX_CLASSES = 255  # label maps are 8 bits wide and 255 means "ignore"


def check_classes(model: nn.Module, dataset: SegmentationDataset) -> None:
    """Raise ConfigError unless model and dataset have the same number of classes, at most 255."""
    classes = model.config.num_classes
    if classes != len(dataset.class_names):
        raise ConfigError(f"the model has {classes} classes, dataset {dataset.name} has {len(dataset.class_names)}")
    if classes > MAX_CLASSES:
        raise ConfigError(f"evaluation takes at most {MAX_CLASSES} classes (255 is the ignore label); got {classes}")


def check_positive(**numbers: int | None) -> None:
    """Raise ConfigError for a number below one; None is allowed and means "no limit"."""
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be at least 1; got {value}")


def check_distinct(**sequences: tuple) -> None:
    """Raise ConfigError for an empty tuple or one with repeated values."""
    for name, values in sequences.items():
        if not values or len(set(values)) != len(values):
            raise ConfigError(f"{name} must be one or more different values; got {values}")
