"""The index of a nuScenes split, as ``data_prep`` writes it: for every sample its files and their geometry.

``index/<split>/<scene>.json`` holds the samples of one scene, ``index/index.json`` says that all are there.  Paths are
relative to the dataset's folder, so that it can be moved.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddp_repro.data.io import DataError

# The order in which the released model takes them.
CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_FRONT_LEFT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT")
LIDAR = "LIDAR_TOP"
FORMAT = 1
_REMEDY = "prepare the dataset again with `python -m data_prep nuscenes`"


@dataclass(frozen=True)
class Sweep:
    """A LiDAR cloud from before a sample.

    Attributes:
        to_lidar: (4, 4), from its own LiDAR frame to that of the sample.
        lag: seconds before the sample.
    """

    file: str
    to_lidar: np.ndarray
    lag: float


@dataclass(frozen=True)
class View:
    """One camera of a sample.

    Attributes:
        size: (height, width).
        intrinsics: (3, 3).
        camera_to_lidar: (4, 4), from the camera when it exposed to the LiDAR at the sample's time.
    """

    file: str
    size: tuple[int, int]
    intrinsics: np.ndarray
    camera_to_lidar: np.ndarray


@dataclass(frozen=True)
class SampleRecord:
    """One key frame. Matrices are float64.

    Attributes:
        timestamp: microseconds.
        ego_to_global, lidar_to_ego: (4, 4), at the LiDAR's time.
        lidar: file of the cloud.
        sweeps: earlier clouds, the nearest first.
        views: in the order of :data:`CAMERAS`.
        objects: detection classes of the annotated objects with LiDAR or radar points, each once.
    """

    token: str
    scene: str
    location: str
    timestamp: int
    ego_to_global: np.ndarray
    lidar_to_ego: np.ndarray
    lidar: str
    sweeps: tuple[Sweep, ...]
    views: tuple[View, ...]
    objects: tuple[str, ...]

    @property
    def files(self) -> list[str]:
        """All that belong to it."""
        return [view.file for view in self.views] + [self.lidar] + [sweep.file for sweep in self.sweeps]


@dataclass(frozen=True)
class SplitIndex:
    """The samples of a split, scene by scene in time, and those left out: token and problem."""

    version: str
    records: list[SampleRecord]
    skipped: list[tuple[str, str]]


def index_path(root: Path, split: str, scene: str) -> Path:
    """Where a scene's samples are."""
    return root / "index" / split / f"{scene}.json"


def summary_path(root: Path) -> Path:
    """Return the path of what is written last."""
    return root / "index" / "index.json"


def read_summary(root: Path) -> dict[str, Any]:
    """``{"version": …, "splits": {split: [scene, …]}}``.

    Raises:
        DataError: the index is missing, incomplete or damaged.
    """
    path = summary_path(root)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a complete index: {_REMEDY}")
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT or not {"version", "splits"} <= content.keys():
        raise DataError(f"{path}: is not an index of format {FORMAT}; {_REMEDY}")
    return content


def read_split(root: Path, split: str) -> SplitIndex:
    """Read the index of a split.

    Raises:
        DataError: there is no such split, a file of the index is missing or damaged, or a token occurs twice.
    """
    summary = read_summary(root)
    if split not in summary["splits"]:
        raise DataError(f"{root}: has no split {split!r}; expected one of {', '.join(summary['splits'])}")
    records, skipped = [], []
    for scene in summary["splits"][split]:
        found = read_scene(index_path(root, split, scene))
        records += found[0]
        skipped += found[1]
    known: set[str] = set()
    _check_calibration(root, split, records)
    for record in records:
        if record.token in known:
            raise DataError(
                f"{index_path(root, split, record.scene)}: sample {record.token} is listed twice; {_REMEDY}"
            )
        known.add(record.token)
    return SplitIndex(summary["version"], records, skipped)


def _check_calibration(root: Path, split: str, records: list[SampleRecord]) -> None:
    """Raise DataError if the model could not invert a matrix."""
    for name in ("intrinsics", "camera_to_lidar"):
        matrices = np.array([[getattr(view, name)[:3, :3] for view in record.views] for record in records])
        bad = np.argwhere(np.abs(np.linalg.det(matrices)) < 1e-6) if records else []
        if len(bad):
            record, camera = records[bad[0][0]], CAMERAS[bad[0][1]]
            where = f"{index_path(root, split, record.scene)}: {name} of {camera}, sample {record.token},"
            raise DataError(f"{where} cannot be inverted; {_REMEDY}")


def read_scene(path: Path) -> tuple[list[SampleRecord], list[tuple[str, str]]]:
    """Return the samples of one file, and those left out.

    Raises:
        DataError: it is missing or damaged.
    """
    content = read_json(path)
    try:
        return [_parse(sample) for sample in content["samples"]], [(t, why) for t, why in content["skipped"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: has a damaged record ({error!r}); {_REMEDY}") from error


def read_json(path: Path) -> Any:
    """Content of a JSON file.

    Raises:
        DataError: it is missing, truncated or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a JSON file") from error
    except ValueError as error:
        raise DataError(f"{path}: is not JSON, or not all of it ({error})") from error


def to_json(value: Any) -> Any:
    """Return a record, or part of one, as plain JSON values."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    if isinstance(value, (SampleRecord, Sweep, View)):
        return {name: to_json(item) for name, item in vars(value).items()}
    return value


def _parse(sample: dict[str, Any]) -> SampleRecord:
    views = tuple(
        View(
            view["file"],
            (int(view["size"][0]), int(view["size"][1])),
            _matrix(view["intrinsics"], 3),
            _matrix(view["camera_to_lidar"], 4),
        )
        for view in sample["views"]
    )
    if len(views) != len(CAMERAS):
        raise ValueError(f"sample {sample['token']} has {len(views)} cameras")
    sweeps = tuple(Sweep(s["file"], _matrix(s["to_lidar"], 4), float(s["lag"])) for s in sample["sweeps"])
    poses: dict[str, Any] = {name: _matrix(sample[name], 4) for name in ("ego_to_global", "lidar_to_ego")}
    names: dict[str, Any] = {name: str(sample[name]) for name in ("token", "scene", "location", "lidar")}
    time, objects = int(sample["timestamp"]), tuple(sample["objects"])
    return SampleRecord(**names, **poses, timestamp=time, sweeps=sweeps, views=views, objects=objects)


def _matrix(values: list[list[float]], size: int) -> np.ndarray:
    matrix = np.array(values, dtype=np.float64)
    if matrix.shape != (size, size) or not np.isfinite(matrix).all():
        raise ValueError(f"a matrix of shape {matrix.shape} that should be {size} × {size}, or is not finite")
    return matrix
