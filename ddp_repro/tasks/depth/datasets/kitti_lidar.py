"""One drive of KITTI with the depth of each frame's own LiDAR scan: real outdoor depth, small enough to try.

Unlike the benchmark's depth maps, which accumulate several scans, these have a return in about 4 % of the pixels.
"""

from __future__ import annotations

from pathlib import Path

from ddp_repro.data.spec import Sample, list_files, pair_by_stem
from ddp_repro.tasks.depth.datasets.spec import DepthSpec
from ddp_repro.tasks.depth.transforms import kb_window


def list_samples(root: Path, split: str) -> list[Sample]:
    """``<split>/image_02/FRAME.jpg`` with ``<split>/depth/FRAME.png``; the id is ``FRAME``."""
    return pair_by_stem(list_files(root / split / "image_02", (".jpg",)), root / split / "depth")


KITTI_LIDAR = DepthSpec(
    name="kitti_lidar",
    depth_scale=256.0,
    list_samples=list_samples,
    layout="<split>/image_02/FRAME.jpg and <split>/depth/FRAME.png",
    eval_window=kb_window,
)
