"""Segmentation and depth datasets, read as ``data_prep`` leaves them on disk, and the paper's image pipelines."""

from ddp_repro.data.build import DATASETS, build_dataset
from ddp_repro.data.depth import DEPTH_SPECS, DepthDataset, DepthSpec
from ddp_repro.data.io import DataError
from ddp_repro.data.segmentation import SPECS, SegmentationDataset

__all__ = [
    "DATASETS",
    "DEPTH_SPECS",
    "SPECS",
    "DataError",
    "DepthDataset",
    "DepthSpec",
    "SegmentationDataset",
    "build_dataset",
]
