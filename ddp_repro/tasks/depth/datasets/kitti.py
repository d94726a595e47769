"""KITTI (Geiger et al., IJRR 2013) with accumulated LiDAR depth (Uhrig et al., 3DV 2017) and Eigen's split."""

from __future__ import annotations

from pathlib import Path

from ddp_repro.data.spec import Sample
from ddp_repro.tasks.depth.datasets.spec import DepthSpec, listed_samples
from ddp_repro.tasks.depth.transforms import kb_window

LISTS = {"train": "kitti_eigen_train.txt", "test": "kitti_eigen_test.txt"}
FOLDERS = ("input", "gt_depth")


def list_samples(root: Path, split: str) -> list[Sample]:
    """Return what the split's list names under ``input`` and ``gt_depth``; the id is ``DRIVE/FRAME``.

    45 of the 697 test images are listed without depth: they were not among the frames that Uhrig et al. annotated.
    """
    return listed_samples(root, split, LISTS, FOLDERS, _name)


def _name(image: Path) -> str:
    """``DATE/DRIVE/image_02/data/FRAME.png``: frames are numbered anew in each drive."""
    return "/".join([*image.parts[1:2], image.stem])


KITTI = DepthSpec(
    name="kitti",
    depth_scale=256.0,
    list_samples=list_samples,
    layout="splits/kitti_eigen_<split>.txt, input/DATE/DRIVE/image_02/data/FRAME.png and "
    "gt_depth/DRIVE/proj_depth/groundtruth/image_02/FRAME.png",
    eval_window=kb_window,
)
