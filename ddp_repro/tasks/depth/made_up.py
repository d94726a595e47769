"""A depth batch without files."""

from __future__ import annotations

from typing import Any

import numpy as np

from ddp_repro.data import made_up
from ddp_repro.data.dataset import PairDataset
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.depth.dataset import DEPTH_SPECS, DepthDataset
from ddp_repro.tasks.depth.datasets.folder import list_samples
from ddp_repro.tasks.depth.datasets.spec import DepthSpec

LEVELS = 16  # of distance
FOLDER = DepthSpec(name="made up", depth_scale=1000.0, list_samples=list_samples, layout="")


class MadeUpDepth(DepthDataset):
    """Blocks at several distances, with holes."""

    def __init__(self, reach: float, data: DataConfig, *, train: bool) -> None:
        options: Any = {"train": train, "mean": made_up.MEAN, "std": made_up.STD}
        PairDataset.__init__(self, data.dataset, made_up.made_up_samples(), made_up.made_up_data(data), **options)
        self.reach, self.spec, self.unannotated = reach, DEPTH_SPECS.get(data.dataset, FOLDER), 0

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        picture, level = made_up.made_up_picture(index), made_up.made_up_regions(index, LEVELS)
        depth = (level * np.float32(self.reach / LEVELS)).astype(np.float32)
        window = self.spec.eval_window(depth.shape)
        return picture[window], depth[window]


def made_up_batch(model: Any, data: DataConfig, train: bool) -> dict[str, Any]:
    """Return two samples as training or evaluation reads them, from made-up pictures."""
    return made_up.batch_of(MadeUpDepth(model.max_depth, data, train=train))
