"""DIODE (Vasiljevic et al. 2019): laser-scanned depth indoors and outdoors, with the set's own masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ddp_repro.data.io import DataError, read_array
from ddp_repro.data.spec import Sample, list_files, list_folders
from ddp_repro.tasks.depth.datasets.spec import DepthSpec

KINDS = ("indoors", "outdoor")
DEPTH, MASK = "_depth.npy", "_depth_mask.npy"


def list_samples(root: Path, split: str) -> list[Sample]:
    """Return the pictures of all scans, indoors and outdoors; the id is the picture's name."""
    kinds = [folder for folder in list_folders(root / split) if folder.name in KINDS]
    scans = [scan for kind in kinds for scene in list_folders(kind) for scan in list_folders(scene)]
    pictures = [picture for scan in scans for picture in list_files(scan, (".png",))]
    return [Sample(each.stem, each, each.with_name(each.stem + DEPTH)) for each in pictures]


def mask_of(depth: Path) -> Path:
    """Return the file of the mask beside a depth map."""
    return depth.with_name(depth.name.removesuffix(DEPTH) + MASK)


def read_depth(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Read a depth map, float32 (H, W) in metres, 0 where its mask is 0.

    Raises:
        DataError: a missing or damaged file, or arrays of another shape.
    """
    depth = read_array(path, "float32 depth in metres, (H, W, 1)").astype(np.float32)
    mask = read_array(mask_of(path), "the mask of a depth map, (H, W)")
    depth = depth[..., 0] if depth.ndim == 3 and depth.shape[2] == 1 else depth
    if depth.ndim != 2 or mask.shape != depth.shape:
        raise DataError(f"{path}: depth {depth.shape} with a mask {mask.shape}; expected (H, W, 1) and (H, W)")
    return np.where((mask > 0) & np.isfinite(depth), depth, 0)


DIODE = DepthSpec(
    name="diode",
    depth_scale=1.0,
    list_samples=list_samples,
    layout=f"<split>/indoors|outdoor/scene_S/scan_N/NAME.png, NAME{DEPTH} and NAME{MASK}",
    read=read_depth,
)
