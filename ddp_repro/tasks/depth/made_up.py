"""A depth batch without files."""

from __future__ import annotations

from typing import Any

import numpy as np

from ddp_repro.data import made_up
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.depth.dataset import DEPTH_SPECS, DepthDataset
from ddp_repro.tasks.depth.datasets.folder import list_samples
from ddp_repro.tasks.depth.datasets.spec import DepthSpec

LEVELS = 16  # of distance
REACH = 10.0  # metres, of models that have none of their own
FOLDER = DepthSpec(name="made up", depth_scale=1000.0, list_samples=list_samples, layout="")


def made_up_batch(model: Any, data: DataConfig, train: bool) -> dict[str, Any]:
    """Return two samples as training or evaluation reads them: blocks at several distances, with holes."""
    spec, reach = DEPTH_SPECS.get(data.dataset, FOLDER), np.float32(getattr(model, "max_depth", REACH))

    def read(number: int) -> tuple[np.ndarray, np.ndarray]:
        depth = (made_up.made_up_regions(number, LEVELS) * (reach / LEVELS)).astype(np.float32)
        window = spec.eval_window(depth.shape)
        return made_up.made_up_picture(number)[window], depth[window]

    return made_up.batch_of(DepthDataset, data, train, read, spec=spec, unannotated=0)
