"""A user's own images and depth maps.

::

    ROOT/depth.json           {"depth_scale": 1000}: stored units per metre
    ROOT/images/<split>/*     pictures (JPEG or PNG)
    ROOT/depth/<split>/*.png  depth maps of the same names: 16 bits, 0 where nothing was measured
"""

from __future__ import annotations

import math
from pathlib import Path

from ddp_repro.data.io import DataError, read_settings
from ddp_repro.data.spec import Sample, list_files, pair_by_stem
from ddp_repro.tasks.depth.datasets.spec import DepthSpec

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


def depth_folder_spec(root: Path) -> DepthSpec:
    """Read ``depth.json``.

    Raises:
        DataError: it is missing or not as described above.
    """
    path = root / "depth.json"
    scale = read_settings(path, {"depth_scale"}, '{"depth_scale": 1000}').get("depth_scale")
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not math.isfinite(scale) or scale <= 0:
        raise DataError(f"{path}: depth_scale is {scale!r}; expected a positive number, the stored units per metre")
    return DepthSpec(
        name="depth_folder",
        depth_scale=float(scale),
        list_samples=list_samples,
        layout="images/<split>/NAME.jpg (or .png) and depth/<split>/NAME.png",
    )


def list_samples(root: Path, split: str) -> list[Sample]:
    """Return the pictures of a split; the id is the name without suffix.

    Raises:
        DataError: no such folder, or one of depth maps in another format.
    """
    folder = root / "depth" / split
    maps = list_files(folder, (".png",))
    others = sorted(set(list_files(folder, ("",))) - set(maps))
    if others:
        kind = "floating-point formats are not read; " if others[0].suffix in (".npy", ".exr", ".tiff", ".pfm") else ""
        raise DataError(f"{others[0]}: is no PNG; {kind}expected greyscale PNGs of 16 bits, depth times depth_scale")
    return pair_by_stem(list_files(root / "images" / split, IMAGE_SUFFIXES), folder)
