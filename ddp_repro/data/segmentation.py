"""The segmentation dataset: one class for all datasets, told apart by their :class:`DatasetSpec`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from ddp_repro.config import DataConfig
from ddp_repro.data import transforms
from ddp_repro.data.ade20k import ADE20K
from ddp_repro.data.camvid import CAMVID
from ddp_repro.data.cityscapes import CITYSCAPES
from ddp_repro.data.folder import folder_spec
from ddp_repro.data.io import DataError, read_image, read_label
from ddp_repro.data.spec import IGNORE, DatasetSpec, Sample, checked, id_table, to_train_ids

SPECS: dict[str, DatasetSpec] = {spec.name: spec for spec in (ADE20K, CITYSCAPES, CAMVID)}
"""The public datasets, whose classes are known without looking at files."""

DATASETS: tuple[str, ...] = (*SPECS, "folder")
"""Names that ``DataConfig.dataset`` may have."""


def dataset_spec(name: str, root: Path) -> DatasetSpec:
    """The description of a dataset; the classes of a user's own ``folder`` are read from ``root``.

    Raises:
        DataError: no such dataset, or an unreadable ``classes.json``.
    """
    if name not in DATASETS:
        raise DataError(f"unknown dataset {name!r}; expected one of {', '.join(DATASETS)}")
    return SPECS[name] if name in SPECS else folder_spec(root)


def build_dataset(
    data: DataConfig, split: str, *, train: bool, mean: Sequence[float], std: Sequence[float], limit: int | None = None
) -> SegmentationDataset:
    """Open one split of a dataset.

    Args:
        split: folder name of the split, e.g. ``data.train_split``.
        train: whether training samples will be drawn; then indexing is refused, and the other way round.
        mean, std: of the RGB channels on the 0..255 scale.
        limit: use only the first so many images.

    Raises:
        DataError: an unknown dataset, a missing or empty folder, or an image without a label map.
    """
    root = Path(data.root).expanduser()
    if not root.is_dir():
        remedy = f"prepare it with `python -m data_prep {data.dataset} --output {root}`"
        raise DataError(f"{root}: no such folder; {remedy if data.dataset in SPECS else 'expected your own dataset'}")
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}; expected at least 1 image")
    spec = dataset_spec(data.dataset, root)
    samples = checked(spec.list_samples(root, split), root, split, spec.layout)
    return SegmentationDataset(spec, samples[:limit], data, train=train, mean=mean, std=std)


class SegmentationDataset(Dataset):
    """Pictures with label maps of train ids (0 … K-1, 255 = ignore)."""

    ignore_index = IGNORE

    def __init__(
        self,
        spec: DatasetSpec,
        samples: list[Sample],
        data: DataConfig,
        *,
        train: bool,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        self.name = spec.name
        self.class_names = spec.class_names
        self.palette = spec.palette
        self.ids = [sample.id for sample in samples]
        self.samples = samples
        self.data = data
        self.train = train
        self.mean, self.std = tuple(mean), tuple(std)
        self._table = id_table(spec.label_ids)

    def __len__(self) -> int:
        return len(self.samples)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read one picture and its label map as stored.

        Returns:
            RGB uint8 (H, W, 3) and train ids int64 (H, W), 255 = ignore.

        Raises:
            DataError: a damaged file, sizes that differ, or an id that the dataset does not have.
        """
        image, label = read_pair(self.samples[index], self._table)
        return image, label.astype(np.int64)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor | str]:
        """The evaluation item: picture resized (aspect kept, no padding) and normalised, label map untouched.

        Returns:
            ``image`` float32 (3, h, w), ``label`` int64 (H, W) at the original size, ``id``.
        """
        if self.train:
            raise TypeError("a training dataset is sampled with sample(index, rng); build with train=False to index it")
        image, label = read_pair(self.samples[index], self._table)
        image = transforms.resize_image(image, transforms.rescaled_size(label.shape, self.data.image_scale))
        return self._item(index, transforms.normalize(image, self.mean, self.std), label)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, torch.Tensor | str]:
        """A training sample: random resize, crop, flip and photometric distortion, all drawn from ``rng``.

        Returns:
            ``image`` float32 (3, *crop_size), ``label`` int64 (*crop_size), ``id``.
        """
        if not self.train:
            raise TypeError("an evaluation dataset is indexed; build with train=True to sample it")
        data = self.data
        image, label = read_pair(self.samples[index], self._table)
        image, label = transforms.random_resize(image, label, data.image_scale, data.ratio_range, rng)
        image, label = transforms.random_crop(image, label, data.crop_size, data.cat_max_ratio, rng)
        image, label = transforms.random_flip(image, label, rng)
        if data.photometric:
            image = transforms.photometric_distortion(image, rng)
        # Padding comes after normalisation, so that it is the mean colour and not black.
        image, label = transforms.pad(transforms.normalize(image, self.mean, self.std), label, data.crop_size)
        return self._item(index, image, label)

    def fingerprint(self) -> str:
        """SHA-256 over the samples' ids and file sizes: tells datasets apart without reading them whole."""
        digest = hashlib.sha256(self.name.encode())
        for sample in sorted(self.samples, key=lambda sample: sample.id):
            digest.update(f"\n{sample.id}\t{os.path.getsize(sample.image)}\t{os.path.getsize(sample.label)}".encode())
        return digest.hexdigest()

    def _item(self, index: int, image: np.ndarray, label: np.ndarray) -> dict[str, torch.Tensor | str]:
        return {
            "image": torch.from_numpy(image),
            "label": torch.from_numpy(label.astype(np.int64)),
            "id": self.ids[index],
        }


def read_pair(sample: Sample, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read a picture and its label map, translated with a table of :func:`~ddp_repro.data.spec.id_table`.

    Returns:
        RGB uint8 (H, W, 3) and train ids uint8 (H, W).

    Raises:
        DataError: a missing or damaged file, sizes that differ, or an id that the dataset does not have.
    """
    image, stored = read_image(sample.image), read_label(sample.label)
    if image.shape[:2] != stored.shape:
        sizes = f"is {_size(stored)}, but its image {sample.image} is {_size(image)} (width x height)"
        raise DataError(f"{sample.label}: {sizes}; expected equal sizes")
    return image, to_train_ids(stored, table, sample.label)


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"
