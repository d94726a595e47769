"""The segmentation dataset: one class for all datasets, told apart by their :class:`DatasetSpec`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ddp_repro.data import transforms
from ddp_repro.data.dataset import PairDataset, require_equal_sizes
from ddp_repro.data.io import DataError, read_image, read_label
from ddp_repro.data.spec import IGNORE, DatasetSpec, Sample, id_table, to_train_ids
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.segmentation.datasets.ade20k import ADE20K
from ddp_repro.tasks.segmentation.datasets.camvid import CAMVID
from ddp_repro.tasks.segmentation.datasets.cityscapes import CITYSCAPES
from ddp_repro.tasks.segmentation.datasets.folder import folder_spec

SPECS: dict[str, DatasetSpec] = {spec.name: spec for spec in (ADE20K, CITYSCAPES, CAMVID)}
"""The public datasets, whose classes are known without looking at files."""

NAMES = (*SPECS, "folder")


def dataset_spec(name: str, root: Path) -> DatasetSpec:
    """Return the description of a segmentation dataset; the classes of a user's own ``folder`` are read from ``root``.

    Raises:
        DataError: no such dataset, or an unreadable ``classes.json``.
    """
    if name not in NAMES:
        raise DataError(f"unknown segmentation dataset {name!r}; expected one of {', '.join(NAMES)}")
    return SPECS[name] if name in SPECS else folder_spec(root)


class SegmentationDataset(PairDataset):
    """Pictures with label maps of train ids (0 … K-1, 255 = ignore)."""

    truth = "label"  # int64 in items
    padding = ignore_index = IGNORE

    def __init__(self, spec: DatasetSpec, samples: list[Sample], data: DataConfig, **options: Any) -> None:
        super().__init__(spec.name, samples, data, **options)
        self.spec = spec
        self.class_names = spec.class_names
        self.palette = spec.palette
        self._table = id_table(spec.label_ids)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read one picture and its label map as stored.

        Returns:
            RGB uint8 (H, W, 3) and train ids int64 (H, W), 255 = ignore.

        Raises:
            DataError: a damaged file, sizes that differ, or an id that the dataset does not have.
        """
        image, label = self._read(index)
        return image, label.astype(np.int64)

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return read_pair(self.samples[index], self._table)

    def _augment(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Random resize, crop, flip and photometric distortion."""
        data = self.data
        image, label = transforms.random_resize(image, label, data.image_scale, data.ratio_range, rng)
        image, label = transforms.random_crop(image, label, data.crop_size, data.cat_max_ratio, rng)
        image, label = transforms.random_flip(image, label, rng)
        return (transforms.photometric_distortion(image, rng) if data.photometric else image), label

    def _item(self, index: int, image: np.ndarray, label: np.ndarray) -> dict[str, torch.Tensor | str]:
        return super()._item(index, image, label.astype(np.int64))


def read_pair(sample: Sample, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read a picture and its label map, translated with a table of :func:`~ddp_repro.data.spec.id_table`.

    Returns:
        RGB uint8 (H, W, 3) and train ids uint8 (H, W).

    Raises:
        DataError: a missing or damaged file, sizes that differ, or an id that the dataset does not have.
    """
    image, stored = read_image(sample.image), read_label(sample.truth)
    require_equal_sizes(image, stored, sample)
    return image, to_train_ids(stored, table, sample.truth)
