"""ScanNet (Dai et al., CVPR 2017): the 800 validation frames on which Marigold and GenPercept are evaluated."""

from __future__ import annotations

from pathlib import Path

from ddp_repro.data.spec import Sample
from ddp_repro.tasks.depth.datasets.nyu import INDOOR_JITTER
from ddp_repro.tasks.depth.datasets.spec import DepthSpec, listed_samples

LISTS = {"test": "scannet_val_sampled_list_800_1.txt"}
FOLDERS = (".", ".")


def list_samples(root: Path, split: str) -> list[Sample]:
    """Return what the list names; the id is ``SCENE/FRAME``."""
    return listed_samples(root, split, LISTS, FOLDERS, lambda image: f"{image.parts[0]}/{image.stem}")


SCANNET = DepthSpec(
    name="scannet",
    depth_scale=1000.0,
    list_samples=list_samples,
    layout=f"splits/{LISTS['test']}, SCENE/color/FRAME.jpg and SCENE/depth/FRAME.png",
    jitter=INDOOR_JITTER,
)
