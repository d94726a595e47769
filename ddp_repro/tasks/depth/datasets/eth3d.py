"""ETH3D (Schöps et al., CVPR 2017): laser-scanned depth of the training scenes' DSLR pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ddp_repro.data.io import DataError
from ddp_repro.data.spec import Sample, list_files, list_folders
from ddp_repro.tasks.depth.datasets.spec import DepthSpec

SPLIT = "training"  # the scenes whose depth is public; the benchmark evaluates on all of them


def list_samples(root: Path, split: str) -> list[Sample]:
    """Return the pictures of all scenes; the id is ``SCENE/NAME``.

    Raises:
        DataError: another split, or no such folders.
    """
    if split != SPLIT:
        raise DataError(f"{root}: has no split {split!r}; expected {SPLIT}")
    return [
        Sample(f"{scene.name}/{picture.stem}", picture, _depth_of(root, scene.name, picture.name))
        for scene in list_folders(root / "rgb")
        for picture in list_files(scene / "images" / "dslr_images", (".jpg",))
    ]


def _depth_of(root: Path, scene: str, name: str) -> Path:
    return root / "depth" / f"{scene}_dslr_depth" / scene / "ground_truth_depth" / "dslr_images" / name


def read_depth(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Read a depth map, float32 (H, W) in metres, 0 where nothing was measured.

    The files are called ``.JPG`` like their pictures, but hold little-endian float32 values and nothing else, row by
    row, infinite where nothing was measured.

    Raises:
        DataError: a missing file, or not four bytes for each pixel of its picture.
    """
    try:
        values = np.fromfile(path, "<f4")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected float32 depth") from error
    if values.size != size[0] * size[1] or path.stat().st_size != 4 * values.size:
        expected = f"float32 for each of the {size[0]} x {size[1]} pixels of its picture"
        raise DataError(f"{path}: has {path.stat().st_size} bytes; expected {expected}")
    return np.where(np.isfinite(values), values, 0).reshape(size)


ETH3D = DepthSpec(
    name="eth3d",
    depth_scale=1.0,
    list_samples=list_samples,
    layout="rgb/SCENE/images/dslr_images/NAME.JPG and "
    "depth/SCENE_dslr_depth/SCENE/ground_truth_depth/dslr_images/NAME.JPG",
    read=read_depth,
)
