"""Opening a dataset of any task by its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ddp_repro.data.io import DataError
from ddp_repro.data.spec import checked
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.bev.settings import BEVDataConfig
from ddp_repro.tasks.depth import dataset as depth
from ddp_repro.tasks.depth.dataset import DEPTH_SPECS, DepthDataset
from ddp_repro.tasks.segmentation import dataset as segmentation
from ddp_repro.tasks.segmentation.dataset import SPECS, SegmentationDataset

if TYPE_CHECKING:
    from ddp_repro.tasks.bev.dataset import NuScenesBEV

DATASETS: tuple[str, ...] = (*segmentation.NAMES, *depth.NAMES)
"""Names that ``DataConfig.dataset`` may have; nuScenes has settings of its own."""


def build_dataset(
    data: DataConfig | BEVDataConfig,
    split: str,
    *,
    train: bool,
    mean: Sequence[float],
    std: Sequence[float],
    limit: int | None = None,
) -> SegmentationDataset | DepthDataset | NuScenesBEV:
    """Open one split of a dataset.

    Args:
        split: name of the split, e.g. ``data.train_split``.
        train: whether training samples will be drawn; then indexing is refused, and the other way round.
        mean, std: of the RGB channels on the 0..255 scale.
        limit: use only the first so many images.

    Raises:
        DataError: an unknown dataset, a missing or empty folder, or an image without its ground truth (which depth
            datasets leave out and count at evaluation).
    """
    if isinstance(data, BEVDataConfig):
        from ddp_repro.tasks.bev.dataset import NuScenesBEV  # needs shapely, which comes with the extra `bev`

        return NuScenesBEV(data, split, train=train, mean=mean, std=std, limit=limit)
    if data.dataset not in DATASETS:
        raise DataError(f"unknown dataset {data.dataset!r}; expected one of {', '.join(DATASETS)}")
    root = Path(data.root).expanduser()
    if not root.is_dir():
        remedy = f"prepare it with `python -m data_prep {data.dataset} --output {root}`"
        public = data.dataset in SPECS or data.dataset in DEPTH_SPECS
        raise DataError(f"{root}: no such folder; {remedy if public else 'expected your own dataset'}")
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}; expected at least 1 image")
    options = {"train": train, "mean": mean, "std": std}
    if data.dataset in depth.NAMES:
        return depth.open_split(depth.depth_spec(data.dataset, root), root, data, split, limit, **options)
    spec = segmentation.dataset_spec(data.dataset, root)
    samples = checked(spec.list_samples(root, split), root, split, spec.layout)
    return SegmentationDataset(spec, samples[:limit], data, **options)
