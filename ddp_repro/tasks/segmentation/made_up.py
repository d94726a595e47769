"""A segmentation batch without files."""

from __future__ import annotations

from typing import Any

import numpy as np

from ddp_repro.data import made_up
from ddp_repro.data.dataset import PairDataset
from ddp_repro.data.spec import IGNORE
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset


class MadeUpSegmentation(SegmentationDataset):
    """Blocks of classes; the last rows are ignored."""

    def __init__(self, classes: int, data: DataConfig, *, train: bool) -> None:
        options: Any = {"train": train, "mean": made_up.MEAN, "std": made_up.STD}
        PairDataset.__init__(self, data.dataset, made_up.made_up_samples(), made_up.made_up_data(data), **options)
        self.classes = classes

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        regions = made_up.made_up_regions(index, self.classes)
        regions[-made_up.BLOCK // 2 :] = IGNORE
        return made_up.made_up_picture(index), regions


def made_up_batch(model: Any, data: DataConfig, train: bool) -> dict[str, Any]:
    """Return two samples as training or evaluation reads them, from made-up pictures."""
    return made_up.batch_of(MadeUpSegmentation(model.num_classes, data, train=train))
