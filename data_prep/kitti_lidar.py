"""One drive of KITTI with its LiDAR scans, from the repository of a course that distributes it, or in our layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from data_prep.files import folder_holding, place
from data_prep.lidar import camera_matrix, project, read_calibration, read_scan
from ddp_repro.data.io import read_image
from ddp_repro.data.transforms import size_of
from ddp_repro.tasks.depth.datasets.kitti_lidar import KITTI_LIDAR

FRAMES = {"train": range(52), "val": range(54, 64)}
COUNTS = {split: len(frames) for split, frames in FRAMES.items()}
URL = SHA1 = None
INSTRUCTIONS = """\
78 frames of a drive of KITTI (CC BY-NC-SA 3.0) with their scans lie in a git repository; fetch it once with
  git clone --depth 1 https://github.com/udacity/SFND_3D_Object_Tracking
and run: python -m data_prep kitti_lidar --source SFND_3D_Object_Tracking --output data/kitti_lidar"""

# Of KITTI's car on 2011-09-26. A calib.json in the source, of the same form, goes before it.
CALIBRATION = {
    "P_rect_02": [
        [721.5377, 0.0, 609.5593, 44.85728],
        [0.0, 721.5377, 172.854, 0.2163791],
        [0.0, 0.0, 1.0, 0.002745884],
    ],
    "R_rect_00": [
        [0.9999239, 0.00983776, -0.007445048, 0.0],
        [-0.009869795, 0.9999421, -0.004278459, 0.0],
        [0.007402527, 0.004351614, 0.9999631, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ],
    "Tr_velo_to_cam": [
        [0.007533745, -0.9999714, -0.000616602, -0.004069766],
        [0.01480249, 0.0007280733, -0.9998902, -0.07631618],
        [0.9998621, 0.00752379, 0.01480755, -0.2717806],
        [0.0, 0.0, 0.0, 1.0],
    ],
}


def convert(source: Path, target: Path) -> None:
    """Fill ``target`` with ``<split>/image_02``, ``<split>/depth`` and ``calib.json``.

    Raises:
        DataError: ``source`` has neither the recording nor our folders, or a file is not as expected.
    """
    if all((source / split / "depth").is_dir() for split in FRAMES):
        for split in FRAMES:
            for sample in KITTI_LIDAR.list_samples(source, split):
                for path in (sample.image, sample.truth):
                    place(path, target / path.relative_to(source))
        if (source / "calib.json").is_file():
            place(source / "calib.json", target / "calib.json")
        return
    folders = [source, source / "images/KITTI/2011_09_26"]
    drive = folder_holding(Path("velodyne_points/data"), folders, source, "images/KITTI/2011_09_26 of the repository")
    calibration = read_calibration(drive / "calib.json") if (drive / "calib.json").exists() else CALIBRATION
    (target / "calib.json").write_text(json.dumps(calibration, indent=1) + "\n")
    for split, frames in FRAMES.items():
        for part in ("image_02", "depth"):
            (target / split / part).mkdir(parents=True)
        for frame in frames:
            _convert_frame(drive, target / split, f"{frame:010d}", camera_matrix(calibration))


def _convert_frame(drive: Path, target: Path, name: str, matrix: np.ndarray) -> None:
    image = read_image(drive / "image_02/data" / f"{name}.png")
    Image.fromarray(image).save(target / "image_02" / f"{name}.jpg", quality=95, subsampling=0)
    depth = project(read_scan(drive / "velodyne_points/data" / f"{name}.bin"), matrix, size_of(image))
    Image.fromarray(np.round(depth * KITTI_LIDAR.depth_scale).astype(np.uint16)).save(target / "depth" / f"{name}.png")
