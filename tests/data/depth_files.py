"""Made depth datasets in the real layouts, to be read and to be damaged."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.build import build_dataset
from ddp_repro.tasks.depth.dataset import DepthDataset

MEAN, STD = (100.0, 110.0, 120.0), (50.0, 60.0, 70.0)

KITTI_FRAMES = {  # frame: whether it has depth
    "2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png": True,
    "2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000075.png": False,
    "2011_09_26/2011_09_26_drive_0009_sync/image_02/data/0000000069.png": True,
}


def write_pair(image: Path, depth: Path | None, size: tuple[int, int] = (24, 32), unit: int = 1000) -> None:
    """A noise picture, and depth of 1 to 5 metres with a hole, stored in ``unit`` per metre."""
    rng = np.random.default_rng(0)
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(image)
    if depth is not None:
        stored = rng.integers(unit, 5 * unit, size).astype(np.uint16)
        stored[:2, :2] = 0
        write_depth(depth, stored)


def write_depth(path: Path, stored: np.ndarray) -> None:
    """Any array as PNG, of its own bit depth."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), stored)


def write_list(root: Path, name: str, lines: list[str], end: str = "\n") -> None:
    """A split list."""
    (root / "splits").mkdir(parents=True, exist_ok=True)
    (root / "splits" / name).write_bytes("".join(line + end for line in lines).encode())


def write_kitti(root: Path, split: str = "test", size: tuple[int, int] = (24, 32)) -> Path:
    """Three frames of two drives; one of them is listed without depth."""
    lines = []
    for image, annotated in KITTI_FRAMES.items():
        _, drive, _, _, frame = image.split("/")
        depth = f"{drive}/proj_depth/groundtruth/image_02/{frame}" if annotated else None
        write_pair(root / "input" / image, root / "gt_depth" / depth if depth else None, size, unit=256)
        lines.append(f"{image} {depth} 721.5377")
    write_list(root, f"kitti_eigen_{split}.txt", lines)
    return root


def write_nyu(root: Path, split: str = "train", size: tuple[int, int] = (48, 64)) -> Path:
    """Three frames of two scenes; paths as in the list of training pictures, with a leading slash."""
    lines = []
    for name in ("kitchen_0028b/{}_00045", "kitchen_0028b/{}_00046", "office_0001a/{}_00045"):
        image, depth = f"{name.format('rgb')}.jpg", f"{name.format('sync_depth')}.png"
        write_pair(root / split / image, root / split / depth, size)
        lines.append(f"/{image} /{depth} 518.8579")
    write_list(root, f"nyu_{split}.txt", lines)
    return root


def write_sunrgbd(root: Path, millimetres: np.ndarray) -> Path:
    """One frame, with the bits of its depth turned as SUN RGB-D does."""
    folder = "SUNRGBD/kv2/kinect2data/000002_2014"
    write_pair(root / folder / "image/0000103.jpg", None, millimetres.shape)
    write_depth(root / folder / "depth/0000103.png", (millimetres << 3) | (millimetres >> 13))
    write_list(root, "SUNRGBD_val_splits.txt", [f"{folder}/image/0000103.jpg {folder}/depth/0000103.png"], "\r\n")
    return root


def write_depth_folder(root: Path, split: str = "train", size: tuple[int, int] = (24, 32), unit: int = 1000) -> Path:
    """Three pictures of a user's own."""
    for name in "abc":
        write_pair(root / "images" / split / f"{name}.jpg", root / "depth" / split / f"{name}.png", size, unit)
    (root / "depth.json").write_text(f'{{"depth_scale": {unit}}}')
    return root


def build(
    dataset: str, root: Path, split: str, train: bool = False, limit: int | None = None, **changes
) -> DepthDataset:
    data = DataConfig(dataset=dataset, root=str(root), **{"image_scale": None, "crop_size": (16, 16), **changes})
    return build_dataset(data, split, train=train, mean=MEAN, std=STD, limit=limit)
