"""Laser scans to depth maps, and what is said about broken scans and calibrations."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_prep.kitti_lidar import CALIBRATION
from data_prep.lidar import camera_matrix, project, read_calibration, read_scan
from ddp_repro.data.io import DataError

# x forward, y left, z up -> x right, y down, z forward; focal length 10, centre at pixel (6, 4) counted from 1
MATRIX = np.array([[6.0, -10, 0, 0], [4, 0, -10, 0], [1, 0, 0, 0]])


def test_points_land_where_the_camera_sees_them():
    points = np.array([[5, 0, 0], [2, 1, 0], [2, 0, -0.4]], np.float32)
    depth = project(points, MATRIX, (8, 12))
    assert {(r, c): depth[r, c] for r, c in np.argwhere(depth > 0)} == {(3, 5): 5.0, (3, 0): 2.0, (5, 5): 2.0}


def test_nearest_return_wins_in_any_order():
    points = np.array([[9, 0, 0], [4, 0, 0], [7, 0, 0]], np.float32)
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        assert project(points[order], MATRIX, (8, 12))[3, 5] == 4


def test_what_the_camera_does_not_see_is_left_out():
    points = np.array([[-5, 0, 0], [0, 1, 1], [2, 9, 0], [2, 0, 9], [2, -9, 0], [2, 0, -9]], np.float32)
    assert not project(points, MATRIX, (8, 12)).any()


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is 0 bytes"), (b"x" * 20, "is 20 bytes"), (b"\xff" * 32, "no numbers")]
)
def test_broken_scan_is_named(tmp_path: Path, content: bytes, said: str):
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.bin: .*{said}.*expected a Velodyne scan"):
        read_scan(tmp_path / "a.bin")
    with pytest.raises(DataError, match=r"b\.bin: no such file; expected a Velodyne scan"):
        read_scan(tmp_path / "b.bin")


def test_calibration_is_read(tmp_path: Path):
    (tmp_path / "calib.json").write_text(json.dumps({**CALIBRATION, "note": "measured"}))
    assert read_calibration(tmp_path / "calib.json") == CALIBRATION


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        json.dumps({**CALIBRATION, "P_rect_02": [[1, 2], [3, 4]]}),
        json.dumps({**CALIBRATION, "P_rect_02": [[1, 2, 3, 4], [5]]}),
        json.dumps({**CALIBRATION, "P_rect_02": [[float("nan")] * 4] * 3}),
        json.dumps({**CALIBRATION, "R_rect_00": "identity"}),
    ],
)
def test_broken_calibration_is_named(tmp_path: Path, content: str):
    (tmp_path / "calib.json").write_text(content)
    with pytest.raises(DataError, match=r"calib\.json: .*expected .*P_rect_02 \(3 x 4\)"):
        read_calibration(tmp_path / "calib.json")
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        read_calibration(tmp_path / "none.json")


@pytest.mark.data
@pytest.mark.parametrize("frame", ["0000000000", "0000000030"])
def test_projection_of_real_scans(data: Path, frame: str):
    root = data / "kitti_lidar_seq"
    assert read_calibration(root / "calib.json") == CALIBRATION
    expected = cv2.imread(str(root / "train/depth" / f"{frame}.png"), cv2.IMREAD_UNCHANGED)
    depth = project(read_scan(root / "velodyne_raw" / f"{frame}.bin"), camera_matrix(CALIBRATION), expected.shape)
    assert np.array_equal(np.round(depth * 256), expected) and np.count_nonzero(expected) > 16_000
