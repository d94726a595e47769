"""NYU-Depth V2 (Silberman et al., ECCV 2012), with the training pictures of BTS and the official test set."""

from __future__ import annotations

from pathlib import Path

from ddp_repro.data.spec import Sample
from ddp_repro.tasks.depth.datasets.spec import DepthSpec, listed_samples
from ddp_repro.tasks.depth.transforms import ColorJitter, nyu_window

LISTS = {"train": "nyu_train.txt", "test": "nyu_test.txt"}
FOLDERS = ("{split}", "{split}")
INDOOR_JITTER = ColorJitter(brightness=(0.75, 1.25))


def list_samples(root: Path, split: str) -> list[Sample]:
    """Return what the split's list names under ``train`` or ``test``; the id is ``SCENE/NUMBER``."""
    return listed_samples(root, split, LISTS, FOLDERS, _name)


def _name(image: Path) -> str:
    """``SCENE/rgb_NUMBER.jpg``."""
    return (image.parent / image.stem.removeprefix("rgb_")).as_posix()


NYU = DepthSpec(
    name="nyu",
    depth_scale=1000.0,
    list_samples=list_samples,
    layout="splits/nyu_<split>.txt, <split>/SCENE/rgb_NUMBER.jpg and <split>/SCENE/sync_depth_NUMBER.png",
    train_window=nyu_window,
    jitter=INDOOR_JITTER,
)
