"""What depth sensors measure of a scene's exact depth. Measured values stay exact; what is missing is 0."""

from __future__ import annotations

import cv2
import numpy as np

from data_prep.scenes.canvas import Camera, noise

LIDAR_RANGE = 80.0  # metres
# Elevations of 64 beams, in degrees, as of the laser scanner on KITTI's car
_BEAMS = np.linspace(2.0, -24.8, 64)
_AZIMUTH_STEP = 3.0  # columns of the picture: a full turn would give every column several returns
KINECT_RANGE = (0.4, 10.0)  # metres
_BASELINE = 0.075  # metres between a Kinect's projector and its camera
_STEEPEST = 6.0  # metres of depth per metre across, from where a surface sends too little light back


def scan_with_lidar(depth: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Rows of single points, as of a rotating laser scanner that stands where the camera is.

    Args:
        depth: (H, W) metres along the optical axis, infinite for the sky.
        camera: level with the ground.

    Returns:
        float32 (H, W), 0 where no beam fell, or it went to the sky, beyond the range, or was lost.
    """
    centers = np.arange(camera.width) + 0.5 - camera.center_x
    start = np.arctan2(centers[0], camera.focal)
    stop = np.arctan2(centers[-1], camera.focal)
    azimuth = np.arange(start, stop, _AZIMUTH_STEP / camera.focal) + rng.uniform(0, _AZIMUTH_STEP) / camera.focal
    beams = np.deg2rad(_BEAMS)[:, None] + rng.normal(0, 2e-4, (len(_BEAMS), len(azimuth)))
    columns = np.floor(camera.center_x + camera.focal * np.tan(azimuth))
    rows = np.floor(camera.horizon - camera.focal * np.tan(beams) / np.cos(azimuth))
    columns = np.broadcast_to(columns, rows.shape)
    lost = rng.random(rows.shape) < 0.08
    seen = ~lost & (rows >= 0) & (rows < camera.height) & (columns >= 0) & (columns < camera.width)
    i, j = rows[seen].astype(int), columns[seen].astype(int)
    measured = np.zeros(depth.shape, np.float32)
    measured[i, j] = np.where(depth[i, j] <= LIDAR_RANGE, depth[i, j], 0)
    return measured


def measure_with_kinect(depth: np.ndarray, rgb: np.ndarray, focal: float, rng: np.random.Generator) -> np.ndarray:
    """Measure a dense map with holes: at the edge, beside what is nearer, on steep, shining or black surfaces.

    Args:
        depth: (H, W) metres along the optical axis.
        rgb: uint8 (H, W, 3).
        focal: in pixels.

    Returns:
        float32 (H, W), 0 where nothing was measured.
    """
    height, width = depth.shape
    holes = (depth < KINECT_RANGE[0]) | (depth > KINECT_RANGE[1])
    holes |= _shadow(depth, focal) | _shadow(depth[:, ::-1], focal / 4)[:, ::-1]
    slope = np.hypot(*np.gradient(depth)) * focal / depth
    brightness = cv2.GaussianBlur(rgb.mean(2, dtype=np.float32), (0, 0), 1.0)
    s, t = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    patchy = noise(s, t, width / 16, int(rng.integers(1 << 16)))
    holes |= (slope > _STEEPEST) | ((brightness < 26) & (patchy < 0.6)) | ((brightness > 246) & (patchy < 0.7))
    holes |= patchy < 0.03
    border = max(round(height / 60), 1)
    holes[:border], holes[-border:], holes[:, :border], holes[:, -border:] = True, True, True, True
    return np.where(holes, np.float32(0), depth)


def _shadow(depth: np.ndarray, focal: float) -> np.ndarray:
    """Mask of what the projector, a little beside the camera, does not reach because something nearer is before it."""
    landing = np.arange(depth.shape[1]) + focal * _BASELINE / depth  # column as the projector sees it
    return landing < np.maximum.accumulate(landing, axis=1) - 0.5
