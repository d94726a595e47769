"""Do a model and a dataset belong together?"""

from __future__ import annotations

from typing import Any

from ddp_repro.papers.ddp.bev.settings import BEVConfig
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.errors import ConfigError

TRUTHS = {"segmentation": "label", "depth": "depth", "bev": "masks"}  # what a task learns from
MAX_CLASSES = 255  # label maps are 8 bits wide and 255 means "ignore"


# Settings of a BEV model that its samples must have too.
_SHARED = ("image_size", "map_range", "map_cell")


def check_dataset(model: ModelConfig | BEVConfig, dataset: Any) -> None:
    """Refuse a model and a dataset (of any task) that cannot work together, before the first image is read.

    Raises:
        ConfigError: they are of different tasks, or of different numbers of classes, or of more than 255; or the BEV
            model wants other pictures, maps or sensors.
    """
    if TRUTHS[model.task] != dataset.truth:
        raise ConfigError(f"model.task is {model.task}, but dataset {dataset.name} has {dataset.truth} maps")
    if model.task == "bev":
        _check_bev(model, dataset)
    if model.task != "segmentation":
        return
    if model.num_classes != len(dataset.class_names):
        raise ConfigError(
            f"model.num_classes is {model.num_classes}, but {dataset.name} has {len(dataset.class_names)} classes"
        )
    if model.num_classes > MAX_CLASSES:
        raise ConfigError(f"at most {MAX_CLASSES} classes are possible (255 is the ignore label)")


def _check_bev(model: BEVConfig, dataset: Any) -> None:
    if model.classes != dataset.class_names:
        raise ConfigError(f"model.classes is {model.classes}, but {dataset.name} has {dataset.class_names}")
    for name in _SHARED:
        ours, theirs = getattr(model, name), getattr(dataset.data, name)
        if ours != theirs:
            raise ConfigError(f"model.{name} is {ours}, but data.{name} is {theirs}; expected equal values")
    if model.sensors == "fusion" and not dataset.data.lidar:
        raise ConfigError("model.sensors is fusion, but data.lidar is false; a fusion model needs points")
