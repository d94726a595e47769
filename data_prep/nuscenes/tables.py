"""From nuScenes' tables, read by nuscenes-devkit, to the records of our index."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ddp_repro.data.io import DataError
from ddp_repro.tasks.bev.nuscenes.geometry import pose_matrix
from ddp_repro.tasks.bev.nuscenes.index import CAMERAS, LIDAR, SampleRecord, Sweep, View
from ddp_repro.tasks.bev.settings import MAX_SWEEPS

if TYPE_CHECKING:
    from nuscenes import NuScenes

_USED = ("log", "scene", "sample", "sample_data", "ego_pose", "calibrated_sensor", "sensor")


class Tables:
    """The tables of one version, with what may be wrong in them turned into errors that name token and table.

    Raises:
        DataError: nuscenes-devkit is not installed, or a table is missing, truncated or refers to missing records.
    """

    def __init__(self, root: Path, version: str) -> None:
        self.folder = root / version
        devkit = import_devkit()
        if not self.folder.is_dir():
            present = sorted(p.name for p in root.glob("v1.0*")) if root.is_dir() else []
            raise DataError(f"{self.folder}: no such folder; expected nuScenes' tables (there are: {present})")
        try:
            self._devkit: NuScenes = devkit.NuScenes(version=version, dataroot=str(root), verbose=False)
        except (OSError, ValueError, KeyError, TypeError, AssertionError, IndexError) as error:
            raise DataError(self._what_is_wrong(error)) from error
        self._twice = {name: self._duplicates(name) for name in _USED}
        self._samples: dict[str, list[dict]] = {}
        for sample in self._devkit.sample:
            self._samples.setdefault(sample["scene_token"], []).append(sample)

    @property
    def scenes(self) -> dict[str, dict]:
        """Scenes by name."""
        return {scene["name"]: scene for scene in self._devkit.scene}

    def get(self, table: str, token: str) -> dict[str, Any]:
        """Return a record.

        Raises:
            DataError: there is none, or more than one.
        """
        path = self.folder / f"{table}.json"
        if token in self._twice[table]:
            raise DataError(f"{path}: token {token} occurs more than once; expected unique tokens")
        try:
            return self._devkit.get(table, token)
        except KeyError as error:
            raise DataError(f"{path}: has no record {token}, which another table refers to") from error

    def samples(self, scene: dict) -> list[dict]:
        """Of one scene, in time; also those whose tokens are not unique."""
        return sorted(self._samples.get(scene["token"], []), key=lambda sample: sample["timestamp"])

    def record(self, scene: dict, sample: dict) -> SampleRecord:
        """Return what the index holds of a sample.

        Raises:
            DataError: a sensor or record is missing, or a pose or calibration is none; the sample is named.
        """
        try:
            self.get("sample", sample["token"])
            return self._record(scene, sample)
        except (DataError, ValueError, KeyError) as error:
            why = f"a record of it has no {error}" if isinstance(error, KeyError) else error
            raise DataError(f"sample {sample['token']} of {scene['name']}: {why}") from error

    def _record(self, scene: dict, sample: dict) -> SampleRecord:
        missing = [channel for channel in (LIDAR, *CAMERAS) if channel not in sample["data"]]
        if missing:
            raise DataError(f"{self.folder}/sample_data.json has no key frame of {', '.join(missing)}")
        cloud = self.get("sample_data", sample["data"][LIDAR])
        to_lidar = np.linalg.inv(self._to_global(cloud))
        return SampleRecord(
            token=sample["token"],
            scene=scene["name"],
            location=self.get("log", scene["log_token"])["location"],
            timestamp=sample["timestamp"],
            ego_to_global=self._pose("ego_pose", cloud["ego_pose_token"]),
            lidar_to_ego=self._pose("calibrated_sensor", cloud["calibrated_sensor_token"]),
            lidar=_relative(cloud["filename"]),
            sweeps=tuple(self._sweeps(cloud, sample["timestamp"], to_lidar)),
            views=tuple(self._view(self.get("sample_data", sample["data"][name]), to_lidar) for name in CAMERAS),
            objects=tuple(sorted(self._objects(sample))),
        )

    def _sweeps(self, cloud: dict, timestamp: int, to_lidar: np.ndarray) -> Iterator[Sweep]:
        for _ in range(MAX_SWEEPS):
            if not cloud["prev"]:
                return
            cloud = self.get("sample_data", cloud["prev"])
            lag = (timestamp - cloud["timestamp"]) / 1e6
            yield Sweep(_relative(cloud["filename"]), to_lidar @ self._to_global(cloud), lag)

    def _view(self, picture: dict, to_lidar: np.ndarray) -> View:
        calibration = self.get("calibrated_sensor", picture["calibrated_sensor_token"])
        intrinsics = np.array(calibration["camera_intrinsic"], dtype=np.float64)
        if intrinsics.shape != (3, 3) or not np.isfinite(intrinsics).all() or abs(np.linalg.det(intrinsics)) < 1e-6:
            where = f"{self.folder}/calibrated_sensor.json, token {calibration['token']}"
            raise DataError(
                f"{where}: camera_intrinsic {intrinsics.tolist()} cannot be inverted; expected 3 × 3 numbers"
            )
        size = (int(picture["height"]), int(picture["width"]))
        return View(_relative(picture["filename"]), size, intrinsics, to_lidar @ self._to_global(picture))

    def _to_global(self, data: dict) -> np.ndarray:
        """(4, 4), from a sensor's frame when it measured."""
        sensor = self._pose("calibrated_sensor", data["calibrated_sensor_token"])
        return self._pose("ego_pose", data["ego_pose_token"]) @ sensor

    def _pose(self, table: str, token: str) -> np.ndarray:
        record = self.get(table, token)
        try:
            return pose_matrix(record["rotation"], record["translation"])
        except (ValueError, TypeError) as error:
            raise DataError(f"{self.folder / table}.json, token {token}: {error}") from error

    def _objects(self, sample: dict) -> set[str]:
        from nuscenes.eval.detection.utils import category_to_detection_name

        annotations = [self._devkit.get("sample_annotation", token) for token in sample["anns"]]
        measured = [a for a in annotations if a["num_lidar_pts"] + a["num_radar_pts"] > 0]
        names = [category_to_detection_name(annotation["category_name"]) for annotation in measured]
        return {name for name in names if name}

    def _duplicates(self, table: str) -> set[str]:
        counts = Counter(record["token"] for record in getattr(self._devkit, table))
        return {token for token, count in counts.items() if count > 1}

    def _what_is_wrong(self, error: Exception) -> str:
        """Find which table is damaged; the devkit does not say which it failed on."""
        for path in sorted(self.folder.glob("*.json")):
            try:
                json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as damage:
                return f"{path}: cannot be read ({damage}); expected a complete table of nuScenes"
        return f"{self.folder}: nuscenes-devkit cannot load these tables ({error!r}); expected nuScenes' 13 tables"


def import_devkit() -> ModuleType:
    """Import the package ``nuscenes``.

    Raises:
        DataError: it is not installed.
    """
    try:
        import nuscenes
    except ImportError as error:
        raise DataError(f"nuscenes-devkit cannot be imported ({error}); install the extra `bev`") from error
    return nuscenes


def _relative(name: str) -> str:
    """Return a file's name, which has to stay inside the dataset."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"file {name!r} lies outside of the dataset; expected a relative path")
    return str(path)
