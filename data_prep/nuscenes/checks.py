"""What can be wrong with a nuScenes sample's files and maps, with token and file in the message."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ddp_repro.data.io import DataError, read_image
from ddp_repro.data.spec import Sample
from ddp_repro.tasks.bev.nuscenes.index import SampleRecord, read_split, read_summary
from ddp_repro.tasks.bev.nuscenes.map import GroundMap, map_path
from ddp_repro.tasks.bev.nuscenes.points import COLUMNS, load_points

PUBLISHED_GRID = ((-51.2, -51.2, -5.0), (51.2, 51.2, 3.0))  # metres: x, y, z low and high


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
    """Return what is wrong with the map of each of the locations; those in order are left out."""
    problems = {}
    for location in sorted(locations):
        try:
            GroundMap.read(root, location)
        except DataError as error:
            problems[location] = str(error)
    return problems


class IndexedSamples:
    """The index as ``data_prep.verify`` wants it: samples by split, each with the file of its map, and their check."""

    def __init__(self) -> None:
        self._records: dict[str, SampleRecord] = {}
        self._root = Path()

    def list_samples(self, root: Path, split: str) -> list[Sample]:
        """Return the samples of a split; a sample's picture is that of its first camera.

        Raises:
            DataError: an index that is missing or damaged, or a map that cannot be used.
        """
        self._root, records = root, read_split(root, split).records
        problems = map_problems(root, {record.location for record in records})
        if problems:
            raise DataError("; ".join(problems.values()))
        self._records |= {record.token: record for record in records}
        return [Sample(r.token, root / r.views[0].file, map_path(root, r.location)) for r in records]

    def check(self, sample: Sample, split: str) -> None:
        """Raise DataError if one of the sample's files cannot be used."""
        check_sample(self._root, self._records[sample.id], thorough=True)


def left_out(root: Path) -> list[str]:
    """Why samples are not in the index, one line each; none if it cannot be read, which listing it reports."""
    try:
        splits = [read_split(root, split) for split in read_summary(root)["splits"]]
    except DataError:
        return []
    return [f"left out: {why}" for index in splits for _, why in index.skipped]


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
    positions, (low, high) = load_points(root, record, record.sweeps)[:, :3], PUBLISHED_GRID
    if not ((positions > low) & (positions < high)).all(1).any():
        raise DataError(f"{root / record.lidar}: none of its points is within the model's grid")
