"""A batch of normals without files."""

from __future__ import annotations

from typing import Any

import numpy as np

from ddp_repro.data import made_up
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.normals.dataset import NormalsDataset

LEVELS = 8  # of slope, to either side; the steepest stand for gaps


def made_up_batch(model: Any, data: DataConfig, train: bool) -> dict[str, Any]:
    """Return two samples as training or evaluation reads them: blocks that face several ways, with gaps."""

    def read(number: int) -> tuple[np.ndarray, np.ndarray]:
        across, down = (made_up.made_up_regions(n, LEVELS) / LEVELS - 0.5 for n in (number, number + made_up.COUNT))
        normals = np.stack([across, down, -np.ones(made_up.SIZE)], axis=2)
        normals /= np.linalg.norm(normals, axis=2, keepdims=True)
        normals[across == -0.5] = 0
        return made_up.made_up_picture(number), normals.astype(np.float32)

    return made_up.batch_of(NormalsDataset, data, train, read)
