"""A batch of alpha mattes without files."""

from __future__ import annotations

from typing import Any

import numpy as np

from ddp_repro.data import made_up
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.matting.dataset import MatteDataset

LEVELS = 5  # of opacity


def made_up_batch(model: Any, data: DataConfig, train: bool) -> dict[str, Any]:
    """Return two samples as training or evaluation reads them: blocks of foreground."""

    def read(number: int) -> tuple[np.ndarray, np.ndarray]:
        opacity = made_up.made_up_regions(number, LEVELS).astype(np.float32) / (LEVELS - 1)
        return made_up.made_up_picture(number), opacity

    return made_up.batch_of(MatteDataset, data, train, read)
