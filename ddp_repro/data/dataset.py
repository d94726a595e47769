"""What the datasets of all tasks share: pictures with ground truth, indexed for evaluation, sampled for training."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ddp_repro.data import transforms
from ddp_repro.data.io import DataError
from ddp_repro.data.spec import Sample
from ddp_repro.settings.recipe import DataConfig


class PairDataset(Dataset):
    """Pictures with one map of ground truth each; a task says how a pair is read and augmented."""

    truth: str  # the ground truth's key in items: "label" or "depth"
    padding: int  # its value where there is no picture
    class_names: tuple[str, ...] = ()

    def __init__(
        self,
        name: str,
        samples: list[Sample],
        data: DataConfig,
        *,
        train: bool,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        self.name = name
        self.ids = [sample.id for sample in samples]
        self.samples = samples
        self.data = data
        self.train = train
        self.mean, self.std = tuple(mean), tuple(std)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the evaluation item: picture resized (aspect kept, no padding) and normalised, ground truth untouched.

        Returns:
            ``image`` float32 (3, h, w), the ground truth (H, W) at its original size, ``id``.
        """
        if self.train:
            raise TypeError("a training dataset is sampled with sample(index, rng); build with train=False to index it")
        image, truth = self._read(index)
        image = transforms.resize_image(
            image, transforms.rescaled_size(transforms.size_of(image), self.data.image_scale)
        )
        return self._item(index, transforms.normalize(image, self.mean, self.std), truth)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Return a training sample, augmented as the task does it; all randomness is drawn from ``rng``.

        Returns:
            ``image`` float32 (3, *crop_size), the ground truth (*crop_size), ``id``.
        """
        if not self.train:
            raise TypeError("an evaluation dataset is indexed; build with train=True to sample it")
        image, truth = self._augment(*self._read(index), rng)
        # Padding comes after normalisation, so that it is the mean colour and not black.
        image = transforms.normalize(image, self.mean, self.std)
        return self._item(index, *transforms.pad(image, truth, self.data.crop_size, self.padding))

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read a picture, uint8 (H, W, 3), and its ground truth (H, W), neither resized nor augmented."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """SHA-256 over the samples' ids and file sizes: tells datasets apart without reading them whole."""
        digest = hashlib.sha256(self._identity().encode())
        for sample in sorted(self.samples, key=lambda sample: sample.id):
            digest.update(f"\n{sample.id}\t{os.path.getsize(sample.image)}\t{os.path.getsize(sample.truth)}".encode())
        return digest.hexdigest()

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """One picture uint8 (H, W, 3) and its ground truth (H, W)."""
        raise NotImplementedError

    def _augment(self, image: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return a random view of a pair, of at most ``crop_size``."""
        raise NotImplementedError

    def _identity(self) -> str:
        """Return what the meaning of the files depends on besides themselves."""
        return self.name

    def _item(self, index: int, image: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
        return {"image": torch.from_numpy(image), self.truth: torch.from_numpy(truth), "id": self.ids[index]}


def require_equal_sizes(image: np.ndarray, truth: np.ndarray, sample: Sample) -> None:
    """Raise DataError unless a picture (H, W, 3) and its ground truth (H, W) agree; both files are named."""
    if image.shape[:2] != truth.shape[:2]:
        sizes = f"is {_size(truth)}, but its image {sample.image} is {_size(image)} (width x height)"
        raise DataError(f"{sample.label}: {sizes}; expected equal sizes")


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"
