"""Pictures and regions that need no files: always the same, for trying what code does and how fast."""

from __future__ import annotations

import dataclasses
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


def made_up_data(data: DataConfig) -> DataConfig:
    """Return the settings of a dataset with sizes that are tried in a moment."""
    return dataclasses.replace(data, image_scale=data.image_scale and SCALE, crop_size=CROP)


def made_up_samples() -> list[Sample]:
    """Return the samples of a dataset that overrides how they are read."""
    return [Sample(f"made up {number}", Path("image"), Path("truth")) for number in range(COUNT)]


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


def batch_of(dataset: PairDataset) -> dict[str, Any]:
    """Return all samples of a small dataset as a batch: augmented from fixed seeds where it is one for training."""
    numbers = range(len(dataset))
    items = [dataset.sample(n, np.random.default_rng(n)) if dataset.train else dataset[n] for n in numbers]
    return {
        name: [item[name] for item in items] if name == "id" else torch.stack([item[name] for item in items])
        for name in items[0]
    }
