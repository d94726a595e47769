"""SUN RGB-D (Song et al., CVPR 2015): the official test pictures, on which models trained on NYU are evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ddp_repro.data.spec import Sample
from ddp_repro.tasks.depth.datasets.nyu import INDOOR_JITTER
from ddp_repro.tasks.depth.datasets.spec import DepthSpec, listed_samples

LISTS = {"test": "SUNRGBD_val_splits.txt"}
FOLDERS = (".", ".")  # the list's paths begin with SUNRGBD/


def list_samples(root: Path, split: str) -> list[Sample]:
    """Return what the list names; the id is the image's path without ``SUNRGBD``, ``image`` and suffix."""
    return listed_samples(root, split, LISTS, FOLDERS, _name)


def rotate_bits(stored: np.ndarray) -> np.ndarray:
    """Millimetres from SUN RGB-D's uint16 values, which hold them turned left by three bits.

    The released evaluation divides the stored values by 8000 instead. Below 8.192 m the three low bits are zero and
    both give the same depth; from there on the bits that were turned around are lost to the division, and a wall at
    9 m becomes one at 0.8 m. Here it stays at 9 m.
    """
    return (stored >> 3) | (stored << 13)


def _name(image: Path) -> str:
    """``SUNRGBD/SENSOR/…/FOLDER/image/NAME.jpg``."""
    return "/".join([*(part for part in image.parts[:-1] if part not in ("SUNRGBD", "image")), image.stem])


SUNRGBD = DepthSpec(
    name="sunrgbd",
    depth_scale=1000.0,
    list_samples=list_samples,
    layout="splits/SUNRGBD_val_splits.txt, SUNRGBD/SENSOR/…/image/NAME.jpg and SUNRGBD/SENSOR/…/depth/NAME.png",
    decode=rotate_bits,
    jitter=INDOOR_JITTER,
)
