"""The depth training pipeline, step by step."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddp_repro.tasks.depth import transforms

SEEDS = st.integers(0, 2**32)


def pair(height: int = 40, width: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A picture and sparse depth whose values all differ."""
    rng = np.random.default_rng(seed)
    depth = rng.permutation(height * width).reshape(height, width).astype(np.float32) + 1
    depth[rng.random(depth.shape) < 0.8] = 0
    return rng.integers(0, 256, (height, width, 3), np.uint8), depth


class Scripted:
    """A generator that gives the draws it was told."""

    def __init__(self, coin: float, *values: float):
        self.coin, self.values, self.asked = coin, list(values), []

    def random(self):
        return self.coin

    def uniform(self, low, high, size=None):
        self.asked.append((low, high))
        value = self.values.pop(0)
        return value if size is None else np.array(value)


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        ((375, 1242), (23, 375), (13, 1229)),
        ((376, 1241), (24, 376), (12, 1228)),
        ((370, 1226), (18, 370), (5, 1221)),
        ((352, 1216), (0, 352), (0, 1216)),
        ((96, 320), (0, 96), (0, 320)),  # smaller pictures as they are
        ((400, 640), (48, 400), (0, 640)),
    ],
)
def test_kb_window(size, rows, columns):
    assert transforms.kb_window(size) == (slice(*rows), slice(*columns))


def test_nyu_window():
    assert transforms.nyu_window((480, 640)) == (slice(45, 472), slice(43, 608))
    assert transforms.nyu_window((240, 320)) == (slice(22, 236), slice(22, 304))
    assert transforms.nyu_window((96, 128)) == (slice(9, 94), slice(9, 122))


@given(height=st.integers(8, 700), width=st.integers(8, 1500))
def test_windows_lie_inside(height, width):
    for window in (transforms.whole_window, transforms.kb_window, transforms.nyu_window):
        rows, columns = window((height, width))
        assert 0 <= rows.start < rows.stop <= height and 0 <= columns.start < columns.stop <= width


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS)
def test_rotation_keeps_sizes_and_invents_no_depth(seed):
    image, depth = pair()
    turned_image, turned = transforms.random_rotation(image, depth, 2.5, np.random.default_rng(seed))
    assert turned_image.shape == image.shape and turned_image.dtype == np.uint8
    assert turned.shape == depth.shape and turned.dtype == np.float32
    assert set(np.unique(turned).tolist()) <= {0.0, *np.unique(depth).tolist()}


def test_rotation_turns_both_about_the_centre():
    rows, columns = np.mgrid[:41, :61].astype(np.float32)
    depth = 1 + rows + columns
    image = np.repeat(depth[..., None], 3, axis=2).astype(np.uint8)
    rng = Scripted(0.0, 2.0)
    turned_image, turned = transforms.random_rotation(image, depth, 2.5, rng)
    assert rng.asked == [(-2.5, 2.5)]
    assert turned[20, 30] == depth[20, 30]  # the centre stays
    inside = (slice(4, -4), slice(4, -4))
    assert np.abs(turned_image[inside][..., 0].astype(float) - turned[inside]).max() <= 1.5  # both turned alike
    assert turned[20, 55] - turned[20, 5] == pytest.approx(50 + 50 * np.sin(np.deg2rad(2)), abs=1)


def test_half_of_the_pictures_are_turned_and_half_are_coloured():
    image, depth = pair()
    rng = np.random.default_rng(0)
    turned = [transforms.random_rotation(image, depth, 2.5, rng)[1] is not depth for _ in range(300)]
    coloured = [transforms.random_color(image, transforms.ColorJitter(), rng).dtype != np.uint8 for _ in range(300)]
    assert 0.4 < np.mean(turned) < 0.6 and 0.4 < np.mean(coloured) < 0.6


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, height=st.integers(1, 50), width=st.integers(1, 70))
def test_crop_is_one_window_of_both(seed, height, width):
    depth = np.arange(40 * 60, dtype=np.float32).reshape(40, 60)
    image = np.stack([depth % 251, depth // 251, depth * 0], axis=-1).astype(np.uint8)
    crop, crop_depth = transforms.random_crop(image, depth, (height, width), np.random.default_rng(seed))
    assert crop_depth.shape == (min(height, 40), min(width, 60))
    assert np.array_equal(crop[..., 1] * 251.0 + crop[..., 0], crop_depth)
    assert np.array_equal(np.diff(crop_depth, axis=1), np.ones_like(crop_depth[:, 1:]))


def test_colours_follow_their_formula():
    image, _ = pair()
    jitter = transforms.ColorJitter(brightness=(0.75, 1.25))
    rng = Scripted(0.0, 1.2, [0.9, 1.0, 1.1], 0.95)
    result = transforms.random_color(image, jitter, rng)
    expected = np.clip(image.astype(np.float64) ** 0.95 * 1.2 * [0.9, 1.0, 1.1], 0, 255)
    assert result.dtype == np.float32 and np.allclose(result, expected, atol=1e-3)
    assert rng.asked == [(0.75, 1.25), (0.9, 1.1), (0.9, 1.1)]


def test_colours_without_a_coin_up_are_kept_and_input_is_not_changed():
    image, _ = pair()
    assert transforms.random_color(image, transforms.ColorJitter(), Scripted(0.5)) is image
    before = image.copy()
    transforms.random_color(image[:, ::-1], transforms.ColorJitter(), np.random.default_rng(1))
    assert np.array_equal(image, before)


def test_rotation_fills_corners_with_zero():
    image, depth = np.full((30, 30, 3), 200, np.uint8), np.full((30, 30), 7, np.float32)
    image, depth = transforms.random_rotation(image, depth, 45.0, Scripted(0.0, 45.0))
    assert not image[0, 0].any() and depth[0, 0] == 0 and cv2.countNonZero(depth) < 900
