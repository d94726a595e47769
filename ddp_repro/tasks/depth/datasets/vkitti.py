"""Virtual KITTI 2 (Cabon et al. 2020): rendered streets, cropped as KITTI's benchmark, depth up to 80 m.

GenPercept trains on it as it is, mirrored at most.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ddp_repro.data.io import DataError
from ddp_repro.data.spec import Sample, list_files, list_folders
from ddp_repro.tasks.depth.datasets.spec import DepthSpec
from ddp_repro.tasks.depth.transforms import UNCHANGED, kb_window

SPLIT = "train"  # there is no other: the whole set is trained on
FARTHEST = 8000  # centimetres; the sky is stored as 65535


def list_samples(root: Path, split: str) -> list[Sample]:
    """Return the pictures of both cameras, all scenes and conditions; the id is ``SCENE/CONDITION/CAMERA/FRAME``.

    Raises:
        DataError: another split, or no such folders.
    """
    if split != SPLIT:
        raise DataError(f"{root}: has no split {split!r}; expected {SPLIT}")
    cameras = [
        camera
        for scene in list_folders(root)
        for condition in list_folders(scene)
        for camera in list_folders(condition / "frames" / "rgb")
    ]
    return [_sample(root, camera, picture) for camera in cameras for picture in list_files(camera, (".jpg",))]


def _sample(root: Path, camera: Path, picture: Path) -> Sample:
    scene, condition = camera.relative_to(root).parts[:2]
    frame = picture.stem.removeprefix("rgb_")
    depth = camera.parent.parent / "depth" / camera.name / f"depth_{frame}.png"
    return Sample(f"{scene}/{condition}/{camera.name}/{frame}", picture, depth)


def cut_off(stored: np.ndarray) -> np.ndarray:
    """Return the values with 0 for what lies beyond 80 m, the sky included."""
    return np.where(stored > FARTHEST, 0, stored).astype(stored.dtype)


VKITTI = DepthSpec(
    name="vkitti",
    depth_scale=100.0,
    list_samples=list_samples,
    layout="SceneNN/CONDITION/frames/rgb/Camera_C/rgb_FRAME.jpg and "
    "SceneNN/CONDITION/frames/depth/Camera_C/depth_FRAME.png",
    decode=cut_off,
    eval_window=kb_window,
    rotation=0.0,
    jitter=UNCHANGED,
)
