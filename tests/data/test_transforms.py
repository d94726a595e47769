"""The training and test pipelines, step by step."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddp_repro.data import transforms

SIDES = st.integers(1, 4000)


def pair(height: int = 40, width: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), np.uint8), rng.integers(0, 5, (height, width)).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "bounds", "expected"),
    [
        ((300, 400), (2048, 512), (512, 683)),  # the short side decides
        ((512, 683), (2048, 512), (512, 683)),
        ((200, 1000), (2048, 512), (410, 2048)),  # the long side decides
        ((1000, 200), (2048, 512), (2048, 410)),
        ((1024, 2048), (2048, 1024), (1024, 2048)),
        ((360, 480), (480, 360), (360, 480)),
    ],
)
def test_rescaled_size(size, bounds, expected):
    assert transforms.rescaled_size(size, bounds) == expected
    assert transforms.rescaled_size(size, bounds[::-1]) == expected


@settings(deadline=None)
@given(height=SIDES, width=SIDES, long=SIDES, short=SIDES)
def test_rescaled_size_is_that_of_mmcv(height, width, long, short):
    mmcv = pytest.importorskip("mmcv")
    new_width, new_height = mmcv.rescale_size((width, height), (long, short))
    assert transforms.rescaled_size((height, width), (long, short)) == (max(new_height, 1), max(new_width, 1))


def test_resize_is_bilinear_for_pictures_and_nearest_for_labels():
    image, label = pair()
    mmcv = pytest.importorskip("mmcv")
    assert np.array_equal(transforms.resize_image(image, (55, 83)), mmcv.imresize(image, (83, 55)))
    assert set(np.unique(transforms.resize_label(label, (55, 83)))) <= set(np.unique(label))
    expected = mmcv.imresize(label, (83, 55), interpolation="nearest")
    assert np.array_equal(transforms.resize_label(label, (55, 83)), expected)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_resize_stays_in_range_and_keeps_the_shape(seed):
    image, label = pair(40, 60)
    image, label = transforms.random_resize(image, label, (60, 40), (0.5, 2.0), np.random.default_rng(seed))
    assert image.shape[:2] == label.shape
    assert 19 <= label.shape[0] <= 80 and abs(label.shape[1] / label.shape[0] - 1.5) < 0.06


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), height=st.integers(1, 50), width=st.integers(1, 50))
def test_crop_is_one_window_of_both(seed, height, width):
    label = np.arange(40 * 60, dtype=np.int64).reshape(40, 60)
    image = np.stack([label % 251, label // 251, label * 0], axis=-1).astype(np.uint8)
    coded = (label % 251).astype(np.uint8)
    crop, crop_label = transforms.random_crop(image, coded, (height, width), 1.0, np.random.default_rng(seed))
    assert crop_label.shape == (min(height, 40), min(width, 60))
    assert np.array_equal(crop[..., 0], crop_label)


def test_crop_avoids_windows_of_one_class():
    label = np.zeros((100, 100), np.uint8)
    label[:, 50:] = 1
    image = np.zeros((100, 100, 3), np.uint8)
    rng = np.random.default_rng(0)
    crops = [transforms.random_crop(image, label, (40, 40), 0.75, rng)[1] for _ in range(200)]
    # a window straddles the border well enough in a third of the draws; eleven draws hardly ever all miss
    assert np.mean([transforms.is_varied(crop, 0.75) for crop in crops]) > 0.95
    plain = [transforms.random_crop(image, label, (40, 40), 1.0, rng)[1] for _ in range(200)]
    assert np.mean([transforms.is_varied(crop, 0.75) for crop in plain]) < 0.6


@pytest.mark.parametrize(
    ("counts", "varied"),
    [
        ({0: 75, 1: 25}, False),  # not below the ratio
        ({0: 74, 1: 26}, True),
        ({0: 100}, False),
        ({255: 100}, False),
        ({255: 90, 0: 5, 1: 5}, True),  # ignored pixels do not count
        ({255: 1, 0: 99}, False),
    ],
)
def test_is_varied(counts, varied):
    label = np.repeat(np.array(list(counts), np.uint8), list(counts.values())).reshape(10, 10)
    assert transforms.is_varied(label, 0.75) == varied


def test_crop_gives_up_after_ten_refusals():
    class Counting:
        def __init__(self):
            self.draws = 0

        def integers(self, low, high):
            self.draws += 1
            return low

    rng, (image, label) = Counting(), pair()
    transforms.random_crop(image, np.zeros_like(label), (10, 10), 0.75, rng)
    assert rng.draws == 2 * (1 + transforms.CROP_TRIES)


def test_flip_turns_both_half_of_the_time():
    image, label = pair()
    rng, turned = np.random.default_rng(0), 0
    for _ in range(400):
        new_image, new_label = transforms.random_flip(image, label, rng)
        if np.array_equal(new_label, label):
            assert np.array_equal(new_image, image)
        else:
            turned += 1
            assert np.array_equal(new_image, image[:, ::-1]) and np.array_equal(new_label, label[:, ::-1])
    assert 150 < turned < 250


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32))
def test_photometric_distortion_keeps_form_and_input(seed):
    image, _ = pair()
    before = image.copy()
    distorted = transforms.photometric_distortion(image, np.random.default_rng(seed))
    assert distorted.dtype == np.uint8 and distorted.shape == image.shape
    assert np.array_equal(image, before)
    assert np.array_equal(distorted, transforms.photometric_distortion(image, np.random.default_rng(seed)))


class Scripted:
    """A generator that gives the draws it was told, in the pipeline's order."""

    def __init__(self, coins: list[int], hue: int = 0, uniform: tuple[float, ...] = ()):
        self.coins, self.hue, self.values, self.asked = coins, hue, list(uniform), []

    def integers(self, low, high=None):
        if high is None:
            return self.coins.pop(0)
        self.asked.append((low, high))
        return self.hue

    def uniform(self, low, high):
        self.asked.append((low, high))
        return self.values.pop(0)


@pytest.mark.parametrize("contrast_first", [0, 1])
def test_photometric_distortion_steps_and_their_order(contrast_first: int):
    def linear(values, factor=1.0, shift=0.0):
        return np.clip(values.astype(np.float32) * factor + shift, 0, 255).astype(np.uint8)

    image, _ = pair()
    expected = linear(image[..., ::-1], shift=11.5)  # in BGR, as the released code does it
    expected = linear(expected, 1.3) if contrast_first else expected
    hsv = cv2.cvtColor(expected, cv2.COLOR_BGR2HSV)
    hsv[..., 1] = linear(hsv[..., 1], 0.7)
    hsv = cv2.cvtColor(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), cv2.COLOR_BGR2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(int) - 13) % 180
    expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    expected = expected if contrast_first else linear(expected, 1.3)
    rng = Scripted(
        [1, contrast_first, 1, 1, 1], hue=-13, uniform=(11.5, 1.3, 0.7) if contrast_first else (11.5, 0.7, 1.3)
    )
    assert np.array_equal(transforms.photometric_distortion(image, rng), expected[..., ::-1])
    assert (-32.0, 32.0) in rng.asked and (-18, 18) in rng.asked and rng.asked.count((0.5, 1.5)) == 2


def test_photometric_distortion_with_no_coin_up_changes_nothing():
    image, _ = pair()
    assert np.array_equal(transforms.photometric_distortion(image, Scripted([0, 0, 0, 0, 0])), image)


def test_normalize():
    image, _ = pair()
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    result = transforms.normalize(image, mean, std)
    assert result.dtype == np.float32 and result.shape == (3, 40, 60) and result.flags.c_contiguous
    assert np.allclose(result, ((image - np.array(mean)) / np.array(std)).transpose(2, 0, 1), atol=1e-5)


@pytest.mark.parametrize(("kind", "fill"), [(np.uint8, 255), (np.float32, 0)])
def test_pad_extends_bottom_and_right(kind: type, fill: int):
    image, truth = np.ones((3, 4, 5), np.float32), np.ones((4, 5), kind)
    image, truth = transforms.pad(image, truth, (6, 8), fill)
    assert image.shape == (3, 6, 8) and truth.shape == (6, 8) and truth.dtype == kind
    assert image[:, :4, :5].all() and not image[:, 4:].any() and not image[:, :, 5:].any()
    assert (truth[4:] == fill).all() and (truth[:, 5:] == fill).all() and (truth[:4, :5] == 1).all()
