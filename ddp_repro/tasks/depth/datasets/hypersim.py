"""Hypersim (Roberts et al., ICCV 2021) as data_prep writes it: rendered rooms, with depth along the optical axis.

GenPercept trains on it as it is, mirrored at most.
"""

from __future__ import annotations

from pathlib import Path

from ddp_repro.data.spec import Sample, list_files, list_folders
from ddp_repro.tasks.depth.datasets.spec import DepthSpec
from ddp_repro.tasks.depth.transforms import UNCHANGED

SPLITS = ("train", "val", "test")


def list_samples(root: Path, split: str) -> list[Sample]:
    """Return the pictures of a split; the id is ``SCENE/CAMERA_FRAME``."""
    return [
        Sample(f"{scene.name}/{picture.stem}", picture, picture.with_suffix(".png"))
        for scene in list_folders(root / split)
        for picture in list_files(scene, (".jpg",))
    ]


HYPERSIM = DepthSpec(
    name="hypersim",
    depth_scale=1000.0,
    list_samples=list_samples,
    layout="<split>/SCENE/CAMERA_FRAME.jpg and <split>/SCENE/CAMERA_FRAME.png",
    rotation=0.0,
    jitter=UNCHANGED,
)
