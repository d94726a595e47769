"""What prepares every public set, by name: a module or object with COUNTS, URL, SHA1, INSTRUCTIONS and convert."""

from __future__ import annotations

from typing import Any

from data_prep import (
    ade20k,
    camvid,
    cityscapes,
    hypersim,
    kitti,
    kitti_lidar,
    nyu,
    placed,
    sevenscenes,
    sintel_normals,
    sunrgbd,
)

PREPARERS: dict[str, Any] = {
    "ade20k": ade20k,
    "cityscapes": cityscapes,
    "camvid": camvid,
    "kitti": kitti,
    "nyu": nyu,
    "sunrgbd": sunrgbd,
    "sevenscenes": sevenscenes,
    "kitti_lidar": kitti_lidar,
    "hypersim": hypersim,
    "sintel_normals": sintel_normals,
    **placed.SETS,
}
