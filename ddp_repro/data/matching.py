"""Do a model and a dataset belong together?"""

from __future__ import annotations

from ddp_repro.config import ConfigError, ModelConfig
from ddp_repro.data.dataset import PairDataset

TRUTHS = {"segmentation": "label", "depth": "depth"}  # what a task learns from
MAX_CLASSES = 255  # label maps are 8 bits wide and 255 means "ignore"


def check_dataset(model: ModelConfig, dataset: PairDataset) -> None:
    """Refuse a pair that cannot work, before the first image is read.

    Raises:
        ConfigError: they are of different tasks, or of different numbers of classes, or of more than 255.
    """
    if TRUTHS[model.task] != dataset.truth:
        raise ConfigError(f"model.task is {model.task}, but dataset {dataset.name} has {dataset.truth} maps")
    if model.task != "segmentation":
        return
    if model.num_classes != len(dataset.class_names):
        raise ConfigError(
            f"model.num_classes is {model.num_classes}, but {dataset.name} has {len(dataset.class_names)} classes"
        )
    if model.num_classes > MAX_CLASSES:
        raise ConfigError(f"at most {MAX_CLASSES} classes are possible (255 is the ignore label)")
