"""A segmentation batch without files."""

from __future__ import annotations

from typing import Any

import numpy as np

from ddp_repro.data import made_up
from ddp_repro.data.spec import IGNORE
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset


def made_up_batch(model: Any, data: DataConfig, train: bool) -> dict[str, Any]:
    """Return two samples as training or evaluation reads them: blocks of classes, the last rows ignored."""

    def read(number: int) -> tuple[np.ndarray, np.ndarray]:
        regions = made_up.made_up_regions(number, model.num_classes)
        regions[-made_up.BLOCK // 2 :] = IGNORE
        return made_up.made_up_picture(number), regions

    return made_up.batch_of(SegmentationDataset, data, train, read)
