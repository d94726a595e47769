"""A path through one room of 7-Scenes, from the repository that distributes its frames, or already in our layout."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data_prep.files import folder_holding, place
from ddp_repro.data.io import DataError, read_depth, read_image
from ddp_repro.tasks.depth.datasets.sevenscenes import DEPTH_SUFFIX, IMAGE_SUFFIX

# Every fourth frame; the 40 frames between keep the splits from showing the same view.
FRAMES = {"train": range(0, 700, 4), "test": range(740, 1000, 4)}
COUNTS = {split: len(frames) for split, frames in FRAMES.items()}
URL = SHA1 = None
INSTRUCTIONS = """\
1000 frames of one room of 7-Scenes (non-commercial research use) lie in a git repository; fetch it once with
  git clone --depth 1 https://github.com/andyzeng/tsdf-fusion-python
and run: python -m data_prep sevenscenes --source tsdf-fusion-python --output data/sevenscenes"""

SIZE = (480, 640)
UNMEASURED = 65535  # in 7-Scenes' own files; 0 here and everywhere else


def convert(source: Path, target: Path) -> None:
    """Fill ``target`` with every fourth frame of ``train/`` and ``test/``, at half the size.

    Raises:
        DataError: ``source`` has neither the repository's ``data/`` nor our folders, or a frame is not as expected.
    """
    if all((source / split).is_dir() for split in FRAMES):
        for split in FRAMES:
            for path in sorted((source / split).glob("*")):
                if path.name.endswith((IMAGE_SUFFIX, DEPTH_SUFFIX)):
                    place(path, target / split / path.name)
        return
    first = Path(f"frame-000000{IMAGE_SUFFIX}")
    folder = folder_holding(first, [source / "data", source], source, "the folder data of tsdf-fusion-python")
    for split, frames in FRAMES.items():
        (target / split).mkdir()
        for frame in frames:
            _convert_frame(folder, target / split, f"frame-{frame:06d}")


def _convert_frame(folder: Path, target: Path, name: str) -> None:
    image, depth = read_image(folder / f"{name}{IMAGE_SUFFIX}"), read_depth(folder / f"{name}{DEPTH_SUFFIX}")
    if not image.shape[:2] == depth.shape == SIZE:
        raise DataError(f"{folder / name}: colour {image.shape[:2]}, depth {depth.shape}; expected {SIZE} pixels")
    small = cv2.resize(image, (SIZE[1] // 2, SIZE[0] // 2), interpolation=cv2.INTER_AREA)
    Image.fromarray(small).save(target / f"{name}{IMAGE_SUFFIX}", quality=95, subsampling=0)
    measured = np.where(depth == UNMEASURED, 0, depth).astype(np.uint16)
    Image.fromarray(np.ascontiguousarray(measured[::2, ::2])).save(target / f"{name}{DEPTH_SUFFIX}")
