"""Depth maps from laser scans: KITTI's calibration and the projection into its left colour camera."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ddp_repro.data.io import DataError

SHAPES = {"P_rect_02": (3, 4), "R_rect_00": (4, 4), "Tr_velo_to_cam": (4, 4)}


def read_calibration(path: Path) -> dict[str, list]:
    """Read a JSON file of the matrices in :data:`SHAPES`, as lists of rows; other keys are left out.

    Raises:
        DataError: the file is missing, not JSON, or lacks a matrix of its shape.
    """
    expected = ", ".join(f"{name} ({rows} x {columns})" for name, (rows, columns) in SHAPES.items())
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        matrices = {name: np.array(content[name], np.float64) for name in SHAPES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error!r}); expected JSON with {expected}") from error
    for name, matrix in matrices.items():
        if matrix.shape != SHAPES[name] or not np.isfinite(matrix).all():
            raise DataError(f"{path}: {name} is {matrix.shape} or not finite; expected {expected}")
    return {name: matrix.tolist() for name, matrix in matrices.items()}


def camera_matrix(calibration: dict[str, list]) -> np.ndarray:
    """P_rect_02 · R_rect_00 · Tr_velo_to_cam: (3, 4), from scanner coordinates in metres to (u·z, v·z, z)."""
    projection, rectification, scanner = (np.array(calibration[name]) for name in SHAPES)
    return projection @ rectification @ scanner


def read_scan(path: Path) -> np.ndarray:
    """Read a Velodyne scan.

    Returns:
        float32 (N, 3): x forward, y left, z up, in metres.

    Raises:
        DataError: the file is missing, or no whole number of points of four float32.
    """
    expected = "a Velodyne scan: x, y, z, reflectance as float32"
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected {expected}")
    size = path.stat().st_size
    if size == 0 or size % 16:
        raise DataError(f"{path}: is {size} bytes long, not a multiple of 16; expected {expected}")
    points = np.fromfile(path, np.float32).reshape(-1, 4)[:, :3]
    if not np.isfinite(points).all():
        raise DataError(f"{path}: holds coordinates that are no numbers; expected {expected}")
    return points


def project(points: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Depth map of a scan; where several points meet in a pixel, the nearest wins.

    Args:
        points: (N, 3) in scanner coordinates.
        matrix: of :func:`camera_matrix`. Its pixels count from 1 as KITTI's do: (1, 1) is the upper left one.
        size: (height, width) of the picture.

    Returns:
        float64 (H, W), z in metres, 0 where there is no return.
    """
    u, v, z = matrix @ np.vstack([points.T.astype(np.float64), np.ones(len(points))])
    u, v, z = u[z > 0], v[z > 0], z[z > 0]
    columns, rows = (np.floor(values / z - 0.5).astype(int) for values in (u, v))  # rounded, less 1
    inside = (rows >= 0) & (columns >= 0) & (rows < size[0]) & (columns < size[1])
    rows, columns, z = rows[inside], columns[inside], z[inside]
    farthest_first = np.argsort(-z, kind="stable")
    depth = np.zeros(size)
    depth[rows[farthest_first], columns[farthest_first]] = z[farthest_first]
    return depth
