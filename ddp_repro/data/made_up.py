"""Pictures and regions that need no files: always the same, for trying what code does and how fast."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ddp_repro.data.dataset import PairDataset
from ddp_repro.data.spec import Sample
from ddp_repro.settings.recipe import DataConfig

SIZE = (80, 120)  # height and width as stored
SCALE, CROP = (96, 64), (64, 64)  # as the network sees them: bounds of a whole picture, a training crop
COUNT = 2
BLOCK = 20
MEAN, STD = (120.0,) * 3, (60.0,) * 3


def made_up_picture(number: int) -> np.ndarray:
    """Return blocks of colour with some noise, uint8 (H, W, 3)."""
    rng = np.random.default_rng(number)
    blocks = rng.integers(30, 226, (SIZE[0] // BLOCK, SIZE[1] // BLOCK, 3))
    noise = rng.integers(-20, 21, (*SIZE, 3))
    return np.clip(blocks.repeat(BLOCK, 0).repeat(BLOCK, 1) + noise, 0, 255).astype(np.uint8)


def made_up_regions(number: int, classes: int) -> np.ndarray:
    """Return blocks of classes below ``classes``, uint8 (H, W)."""
    rng = np.random.default_rng(100 + number)
    blocks = rng.integers(0, classes, (SIZE[0] // BLOCK, SIZE[1] // BLOCK))
    return blocks.repeat(BLOCK, 0).repeat(BLOCK, 1).astype(np.uint8)


def batch_of(
    kind: type[PairDataset], data: DataConfig, train: bool, read: Callable[[int], tuple[np.ndarray, np.ndarray]],
    **attributes: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return a batch of a dataset that has no files, augmented from fixed seeds where it is one for training.

    Args:
        kind: the dataset's class, whose reading is replaced.
        data: its settings, but for the sizes.
        read: number -> picture and ground truth as stored.
        attributes: what the class has beside those of :class:`PairDataset`.
    """

    class MadeUp(kind):
        def __init__(self) -> None:
            samples = [Sample(f"made up {number}", Path("image"), Path("truth")) for number in range(COUNT)]
            sizes = dataclasses.replace(data, image_scale=data.image_scale and SCALE, crop_size=CROP)
            PairDataset.__init__(self, data.dataset, samples, sizes, train=train, mean=MEAN, std=STD)
            vars(self).update(attributes)

        def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            return read(index)

    dataset = MadeUp()
    items = [dataset.sample(n, np.random.default_rng(n)) if train else dataset[n] for n in range(COUNT)]
    return {
        name: [item[name] for item in items] if name == "id" else torch.stack([item[name] for item in items])
        for name in items[0]
    }
