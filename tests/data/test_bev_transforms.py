"""Camera and LiDAR augmentation: the released matrices and pictures, and matrices that mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ddp_repro.tasks.bev.transforms import ImageAugmentation, LidarAugmentation
from tests.golden_recipe_bev import lidar_points, reference, uniform

CAMERA, SIZE = (900, 1600), (256, 704)
IMAGE = {
    "test": ImageAugmentation.at_test(CAMERA, SIZE),
    "train": ImageAugmentation(size=SIZE, resize=0.5, left=17, top=194, flip=True, turn=3.7),
}
LIDAR = {"turn": 0.3, "scale": 1.05, "shift": (0.4, -0.2, 0.1)}


@pytest.mark.parametrize("mode", IMAGE)
def test_image_augmentation(mode: str) -> None:
    golden, matrix = reference("image_aug"), IMAGE[mode].matrix()
    np.testing.assert_allclose(matrix[:2, :2], golden[f"{mode}_rot"], atol=1e-5)
    np.testing.assert_allclose(matrix[:2, 3], golden[f"{mode}_trans"], rtol=1e-5)
    small = Image.fromarray((uniform("aug.img", (90, 160, 3)) * 255).astype(np.uint8))
    picture = IMAGE[mode].apply(small.resize(CAMERA[::-1], Image.Resampling.BILINEAR))
    assert picture.size == tuple(golden[f"{mode}_size"])
    difference = np.asarray(picture)[::8, ::8].astype(int) - golden[f"{mode}_img_every8"]
    assert np.abs(difference).max() <= 1


def test_image_matrix_moves_pixels_as_the_picture_does() -> None:
    picture = Image.new("L", CAMERA[::-1])
    picture.paste(255, (800, 600, 820, 620))
    for seed in range(5):
        drawn = ImageAugmentation.draw(CAMERA, SIZE, np.random.default_rng(seed))
        rows, columns = np.nonzero(np.asarray(drawn.apply(picture)) > 128)
        expected = drawn.matrix() @ [810.0, 610.0, 0.0, 1.0]
        np.testing.assert_allclose([columns.mean() + 0.5, rows.mean() + 0.5], expected[:2], atol=1.0)


def test_drawn_image_augmentation_stays_in_the_published_ranges() -> None:
    drawn = [ImageAugmentation.draw(CAMERA, SIZE, np.random.default_rng(seed)) for seed in range(50)]
    assert all(0.38 <= d.resize <= 0.55 and abs(d.turn) <= 5.4 for d in drawn)
    assert all(d.top == int(900 * d.resize) - 256 and 0 <= d.left <= max(0, int(1600 * d.resize) - 704) for d in drawn)
    assert {d.flip for d in drawn} == {True, False}


def test_lidar_augmentation() -> None:
    golden, points = reference("lidar_aug"), lidar_points("aug.pts", 50).numpy()
    np.testing.assert_array_equal(points, golden["pts_in"])
    np.testing.assert_allclose(LidarAugmentation(**LIDAR).matrix(), golden["matrix"], atol=1e-6)
    for name, flips in (("out", {}), ("flip_horizontal", {"flip_y": True}), ("flip_vertical", {"flip_x": True})):
        moved = LidarAugmentation(**LIDAR, **flips).apply(points)
        np.testing.assert_allclose(moved, golden[f"pts_{name}"], atol=1e-5)


def test_masks_are_mirrored_as_the_points_are() -> None:
    masks = np.zeros((1, 8, 8), dtype=bool)
    masks[0, 6, 1] = True  # cell of x = 2.5, y = -2.5, with cells of 1 m from -4 m
    for flip_x, flip_y in ((True, False), (False, True), (True, True)):
        augmentation = LidarAugmentation(flip_x=flip_x, flip_y=flip_y)
        x, y, _ = augmentation.apply(np.array([[2.5, -2.5, 0.0]], dtype=np.float32))[0]
        assert augmentation.mirror(masks)[0, int(x + 4), int(y + 4)]


def test_drawn_lidar_augmentation_stays_in_the_published_ranges() -> None:
    drawn = [LidarAugmentation.draw(np.random.default_rng(seed)) for seed in range(200)]
    assert all(abs(d.turn) <= np.pi / 4 and 0.9 <= d.scale <= 1.1 for d in drawn)
    assert np.std([d.shift for d in drawn]) == pytest.approx(0.5, rel=0.1)
    assert {(d.flip_x, d.flip_y) for d in drawn} == {(a, b) for a in (True, False) for b in (True, False)}
