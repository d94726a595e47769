"""Segmentation datasets, read as ``data_prep`` leaves them on disk, and the paper's image pipeline."""

from ddp_repro.data.io import DataError
from ddp_repro.data.segmentation import DATASETS, SPECS, SegmentationDataset, build_dataset

__all__ = ["DATASETS", "SPECS", "DataError", "SegmentationDataset", "build_dataset"]
