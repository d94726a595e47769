"""Hypersim (Roberts et al., ICCV 2021): tone-mapped renderings, and depth along the optical axis from HDF5.

Hypersim stores the distance to the camera's centre; what models predict, and other sets store, is its part along the
optical axis.  No file of the set was seen while this was written: the layout follows the published description.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from data_prep.files import place
from ddp_repro.data.io import DataError, read_image
from ddp_repro.tasks.depth.datasets.hypersim import HYPERSIM, SPLITS

COUNTS = {"train": 59_543, "val": 7_386, "test": 7_690}
URL = SHA1 = None
LIST = "metadata_images_split_scene_v1.csv"
COLUMNS = ("scene_name", "camera_name", "frame_id", "included_in_public_release", "split_partition_name")
PICTURE = "{scene}/images/scene_{camera}_final_preview/frame.{frame:04d}.tonemap.jpg"
DISTANCE = "{scene}/images/scene_{camera}_geometry_hdf5/frame.{frame:04d}.depth_meters.hdf5"
INSTRUCTIONS = f"""\
Hypersim is fetched by the script of https://github.com/apple/ml-hypersim (1.9 TB; of each scene only the previews and
depth_meters are needed) into one folder, --source, with
  {PICTURE}
  {DISTANCE}
and {LIST} of that repository (evermotion_dataset/analysis) in the same folder.
What its public release leaves out is left out here. The authors of Marigold and GenPercept also leave out pictures
with much that is invalid (about 54,000 are left); that list is not applied.
(This layout follows the published description; no file of the set was seen while this was written.)"""

SIZE, FOCAL = (768, 1024), 886.81  # pixels; one camera for all scenes
FARTHEST = 65.535  # metres: the largest value of a 16-bit PNG in millimetres; what is farther has no depth


@dataclass(frozen=True)
class _Frame:
    split: str
    scene: str
    camera: str
    number: int

    def of(self, pattern: str) -> str:
        return pattern.format(scene=self.scene, camera=self.camera, frame=self.number)

    @property
    def name(self) -> str:
        return f"{self.split}/{self.scene}/{self.camera}_{self.number:04d}"


def convert(source: Path, target: Path) -> None:
    """Put the pictures of the public release into ``target``, by split and scene, each with its depth in millimetres.

    Scenes that were not fetched at all are left out.

    Raises:
        DataError: h5py is missing, the list is missing or another one, no scene is there, or a file is not as expected.
    """
    frames = [frame for frame in _frames(source / LIST) if (source / frame.scene).is_dir()]
    if not frames:
        raise DataError(f"{source}: holds none of the scenes of {LIST}; expected {PICTURE}")
    for frame in tqdm(frames, desc="Hypersim", delay=2, leave=False, disable=None):
        picture = source / frame.of(PICTURE)
        depth = axial_depth(read_distance(source / frame.of(DISTANCE)))
        if read_image(picture).shape[:2] != SIZE:
            raise DataError(f"{picture}: is not of {SIZE[1]} x {SIZE[0]} pixels")
        place(picture, target / f"{frame.name}.jpg")
        Image.fromarray(to_stored(depth)).save(target / f"{frame.name}.png")


def axial_depth(distance: np.ndarray) -> np.ndarray:
    """Return the part of the distance to the camera's centre that lies along the optical axis, (H, W)."""
    height, width = distance.shape
    focal = FOCAL * width / SIZE[1]
    across = np.arange(width) + 0.5 - width / 2
    down = np.arange(height) + 0.5 - height / 2
    return distance * focal / np.sqrt(across**2 + down[:, None] ** 2 + focal**2)


def to_stored(depth: np.ndarray) -> np.ndarray:
    """Return metres as millimetres, uint16; 0 for what is not finite, not in front of the camera, or too far."""
    known = np.isfinite(depth) & (depth > 0) & (depth <= FARTHEST)
    return np.where(known, np.round(np.where(known, depth, 0) * HYPERSIM.depth_scale), 0).astype(np.uint16)


def read_distance(path: Path) -> np.ndarray:
    """Read a file of distances, (H, W) in metres, NaN where nothing was hit.

    Raises:
        DataError: h5py is missing, or the file is not the published one.
    """
    try:
        import h5py
    except ImportError as error:
        raise DataError(f"{path}: reading it needs the package h5py (uv sync --extra depth)") from error
    try:
        with h5py.File(path, "r") as file:
            distance = np.asarray(file["dataset"], np.float64)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected HDF5 with `dataset`, metres") from error
    if distance.shape != SIZE:
        raise DataError(f"{path}: has shape {distance.shape}; expected {SIZE}")
    return distance


def _frames(path: Path) -> Iterator[_Frame]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected the published list of pictures") from error
    missing = [name for name in COLUMNS if not rows or name not in rows[0]]
    if missing:
        raise DataError(f"{path}: has no {', '.join(missing)}; expected the columns {', '.join(COLUMNS)}")
    for number, row in enumerate(rows, start=2):
        if row["included_in_public_release"] != "True":
            continue
        if row["split_partition_name"] not in SPLITS or not row["frame_id"].isdecimal():
            raise DataError(f"{path}, line {number}: expected a split of {', '.join(SPLITS)} and a frame's number")
        yield _Frame(row["split_partition_name"], row["scene_name"], row["camera_name"], int(row["frame_id"]))
