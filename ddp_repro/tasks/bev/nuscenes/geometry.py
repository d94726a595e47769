"""Frames of nuScenes: rigid motions between global, ego, LiDAR and cameras, and LiDAR points in pictures.

Global: x east, y north. Ego: x forward, y left. LiDAR: x right, y forward. All have z up. Camera: x right, y down,
z along the optical axis.
"""

from __future__ import annotations

import numpy as np


def pose_matrix(rotation: list[float], translation: list[float]) -> np.ndarray:
    """Return a nuScenes record's motion from its frame outwards: quaternion (w, x, y, z) and metres -> (4, 4) float64.

    Raises:
        ValueError: values that are not finite, or a quaternion that is not of unit length.
    """
    values = np.array([*rotation, *translation], dtype=np.float64)
    if values.shape != (7,) or not np.isfinite(values).all():
        raise ValueError(f"rotation {rotation} and translation {translation} are not 4 and 3 finite numbers")
    norm = np.linalg.norm(values[:4])
    if abs(norm - 1) > 1e-3:
        raise ValueError(f"rotation {rotation} has length {norm:.4g}; expected a quaternion of length 1")
    w, x, y, z = values[:4] / norm
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = values[4:]
    return matrix


def ground_patch(lidar_to_global: np.ndarray) -> tuple[float, float, float]:
    """Return the area around the car that maps show: centre (x, y) in map metres and degrees of its first axis.

    Args:
        lidar_to_global: (4, 4); float32 gives the released masks to the pixel.
    """
    x, y = lidar_to_global[:2, 3]
    right = lidar_to_global[:3, 0].astype(np.float64)
    return float(x), float(y), float(np.arctan2(right[1], right[0]) / np.pi * 180)


def project_points(
    points: np.ndarray,
    camera_to_lidar: np.ndarray,
    intrinsics: np.ndarray,
    image_augmentation: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """LiDAR points as one camera sees them.

    Args:
        points: (P, 3 or more), x, y, z first, metres, not augmented.
        camera_to_lidar: (4, 4).
        intrinsics: (3, 3).
        image_augmentation: (4, 4), from the camera's pixels to those of an augmented picture.

    Returns:
        Pixels (u, v) (P, 2) and depths along the optical axis (P,), float64. Where the depth is not positive the point
        is behind the camera, and its pixel is NaN.
    """
    lidar_to_camera = np.linalg.inv(np.asarray(camera_to_lidar, np.float64))
    seen = np.asarray(points[:, :3], np.float64) @ lidar_to_camera[:3, :3].T + lidar_to_camera[:3, 3]
    depth = seen[:, 2]
    flat = seen @ np.asarray(intrinsics, np.float64)[:3, :3].T
    pixels = flat[:, :2] / np.where(depth > 0, depth, np.nan)[:, None]
    if image_augmentation is not None:
        pixels = pixels @ np.asarray(image_augmentation, np.float64)[:2, :2].T + image_augmentation[:2, 3]
    return pixels, depth
