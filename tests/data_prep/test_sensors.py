"""Depth sensors: what they measure is exact, and they miss what such sensors miss."""

import numpy as np

from data_prep.scenes import Camera, random_street, render
from data_prep.scenes.sensors import measure_with_kinect, scan_with_lidar

CAMERA = Camera(160, 48, 93.0, 80.0, 22.0, 1.65)
GREY = np.full((60, 80, 3), 120, np.uint8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_lidar_is_exact_and_sparse():
    depth = render(random_street(rng(), 160, 48)).depth
    measured = scan_with_lidar(depth, CAMERA, rng())
    hit = measured > 0
    assert measured.dtype == np.float32 and np.array_equal(measured[hit], depth[hit])
    assert 0.05 < hit.mean() < 0.2
    assert np.array_equal(measured, scan_with_lidar(depth, CAMERA, rng()))


def test_lidar_gets_nothing_from_the_sky_afar_or_above_its_beams():
    for depth in (np.inf, 80.5):
        assert not scan_with_lidar(np.full((48, 160), depth, np.float32), CAMERA, rng()).any()
    hit = scan_with_lidar(np.full((48, 160), 9.0, np.float32), CAMERA, rng()) > 0
    assert not hit[:16].any() and hit[24:].any(1).all()


def test_lidar_columns_lie_apart_and_its_rows_bend_towards_the_middle():
    camera = Camera(320, 96, 186.0, 160.0, 44.0, 1.65)
    hit = scan_with_lidar(np.full((96, 320), 9.0, np.float32), camera, rng()) > 0
    assert 0.2 < hit.any(0).mean() < 0.5
    lowest = [np.flatnonzero(hit[:, part].any(1)).min() for part in (slice(0, 20), slice(150, 170))]
    assert lowest[0] <= lowest[1]  # the highest beam rises 2 degrees: more pixels to the side, where tan is stretched


def test_kinect_is_exact_and_mostly_complete():
    depth = np.broadcast_to(np.linspace(2, 3, 80, dtype=np.float32), (60, 80))
    measured = measure_with_kinect(depth, GREY, 65.0, rng())
    assert measured.dtype == np.float32 and np.array_equal(measured[measured > 0], depth[measured > 0])
    assert 0.85 < (measured > 0).mean() < 0.97
    edge = measured[[0, -1]], measured[:, [0, -1]]
    assert not edge[0].any() and not edge[1].any()


def test_kinect_range():
    for depth in (0.3, 10.5):
        assert not measure_with_kinect(np.full((60, 80), depth, np.float32), GREY, 65.0, rng()).any()


def test_kinect_shadow_is_as_wide_as_the_disparity():
    depth = np.full((60, 300), 4.0, np.float32)
    depth[:, 100:200] = 0.5  # disparity 0.075 f (1 / 0.5 - 1 / 4) = 26 pixels at f = 200
    holes = measure_with_kinect(depth, np.full((60, 300, 3), 120, np.uint8), 200.0, rng()) == 0
    beside = holes[:, 200:250].mean(0)
    assert (beside[:25] == 1).all() and beside[30:].max() < 0.5
    assert holes[:, 130:170].mean() < 0.2  # the near surface itself is measured


def test_kinect_misses_black_surfaces_in_places():
    depth = np.full((60, 80), 2.0, np.float32)
    dark = (measure_with_kinect(depth, GREY // 12, 65.0, rng()) > 0).mean()
    assert 0.2 < dark < 0.6
