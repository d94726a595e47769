"""What can be wrong with a nuScenes sample's files and maps, with token and file in the message."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ddp_repro.data import DataError
from ddp_repro.data.io import read_image
from ddp_repro.data.nuscenes_index import SampleRecord
from ddp_repro.data.nuscenes_map import GroundMap
from ddp_repro.data.nuscenes_points import COLUMNS, in_range, load_points


def check_sample(root: Path, record: SampleRecord, *, thorough: bool) -> None:
    """Check that a sample's files are there and not cut off; if ``thorough``, that they can be used.

    Raises:
        DataError: names the sample and the first file with a problem.
    """
    try:
        for file in record.files:
            _check_size(root / file)
        if thorough:
            _read_all(root, record)
    except DataError as error:
        raise DataError(f"sample {record.token} of {record.scene}: {error}") from error


def map_problems(root: Path, locations: Iterable[str]) -> dict[str, str]:
    """What is wrong with the map of each of the locations; those in order are left out."""
    problems = {}
    for location in sorted(locations):
        try:
            GroundMap.read(root, location)
        except DataError as error:
            problems[location] = str(error)
    return problems


def _check_size(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: no such file; expected a part of nuScenes") from error
    if size == 0:
        raise DataError(f"{path}: is empty; expected a part of nuScenes")
    if path.suffix == ".bin" and size % (4 * COLUMNS):
        raise DataError(f"{path}: has {size} bytes, which is no whole number of LiDAR points; it may be cut off")


def _read_all(root: Path, record: SampleRecord) -> None:
    for view in record.views:
        shape = read_image(root / view.file).shape[:2]
        if shape != view.size:
            raise DataError(f"{root / view.file}: is {shape} (height, width); expected {view.size} as in the tables")
    if not len(in_range(load_points(root, record, record.sweeps))):
        raise DataError(f"{root / record.lidar}: none of its points is within the model's grid")
