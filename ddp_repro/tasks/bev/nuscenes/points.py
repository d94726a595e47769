"""LiDAR clouds of nuScenes: the key frame's and earlier ones, in the key frame's coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ddp_repro.data.io import DataError
from ddp_repro.tasks.bev.nuscenes.index import SampleRecord, Sweep

COLUMNS = 5  # on disk: x, y, z, intensity, ring; in memory: x, y, z, intensity, time lag
_CLOSE = 1.0  # metres: sweeps lose the car's own roof


def read_cloud(path: Path) -> np.ndarray:
    """Read a ``.pcd.bin`` file.

    Returns:
        float32 (P, 5): x, y, z (metres), intensity (0..255), ring.

    Raises:
        DataError: it is missing, empty, cut off or holds values that are not finite.
    """
    expected = f"a nuScenes cloud of float32, {COLUMNS} to a point"
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected {expected}")
    values = np.fromfile(path, dtype="<f4") if path.stat().st_size % 4 == 0 else np.empty(1, np.float32)
    if values.size == 0:
        raise DataError(f"{path}: is empty; expected {expected}")
    if values.size % COLUMNS:
        raise DataError(f"{path}: has {path.stat().st_size} bytes, which is no whole number of points; {expected}")
    points = values.reshape(-1, COLUMNS)
    bad = ~np.isfinite(points).all(1)
    if bad.any():
        raise DataError(f"{path}: {int(bad.sum())} of {len(points)} points are not finite; expected {expected}")
    return points


def load_points(root: Path, record: SampleRecord, sweeps: Sequence[Sweep], repeats: int = 0) -> np.ndarray:
    """Return the key frame's cloud and those of ``sweeps``, one below the other.

    Args:
        repeats: how often the key frame's cloud is added again. The released code does so in place of the sweeps that
            the first sample of a scene does not have.

    Returns:
        float32 (P, 5): x, y, z in the key frame's LiDAR coordinates, intensity, seconds before the key frame.  What is
        not of the key frame itself lacks the points close to the LiDAR.

    Raises:
        DataError: a cloud that cannot be read.
    """
    key = read_cloud(root / record.lidar)
    key[:, 4] = 0
    clouds = [key] + repeats * [without_close(key)]
    for sweep in sweeps:
        points = without_close(read_cloud(root / sweep.file))
        points[:, :3] = points[:, :3] @ sweep.to_lidar[:3, :3].T + sweep.to_lidar[:3, 3]
        points[:, 4] = sweep.lag
        clouds.append(points)
    return np.concatenate(clouds)


def without_close(points: np.ndarray) -> np.ndarray:
    """Return a copy without the points within a metre of the LiDAR in both x and y."""
    return points[~((np.abs(points[:, 0]) < _CLOSE) & (np.abs(points[:, 1]) < _CLOSE))]
