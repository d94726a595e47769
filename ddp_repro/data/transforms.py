"""The paper's image pipeline as pure functions on arrays; whatever is random is drawn from the ``rng`` passed in.

Pictures are uint8 (H, W, 3) RGB and label maps uint8 (H, W) train ids until :func:`normalize`.
Sizes are (height, width). The order and constants are those of the released configurations
(resize, crop, flip, photometric distortion, normalise, pad). What depth alone needs is in
:mod:`ddp_repro.tasks.depth.transforms`; a "truth" here may be either map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ddp_repro.data.spec import IGNORE

if TYPE_CHECKING:
    from torch import Tensor

# Samples are processed in parallel by loader workers; OpenCV's own threads would only compete with them.
cv2.setNumThreads(0)

CROP_TRIES = 10
BRIGHTNESS = 32.0  # added, at most
CONTRAST = SATURATION = (0.5, 1.5)  # factors
HUE = 18  # shift in OpenCV's half degrees, at most


def size_of(picture: np.ndarray | Tensor) -> tuple[int, int]:
    """Return the (height, width) of a picture or map (H, W, ...)."""
    height, width = picture.shape[:2]
    return height, width


def rescaled_size(size: tuple[int, int], bounds: tuple[int, int] | None) -> tuple[int, int]:
    """Return the largest size of the same shape whose long and short sides stay within ``bounds``.

    Args:
        size: (height, width) of the picture.
        bounds: limits of the long and of the short side, in either order; None: ``size`` itself.
    """
    if bounds is None:
        return size
    height, width = size
    factor = min(max(bounds) / max(size), min(bounds) / min(size))
    return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear resize of a uint8 picture to (height, width)."""
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Nearest-neighbour resize of a label or depth map to (height, width)."""
    return cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST)


def resize_pair(image: np.ndarray, truth: np.ndarray, bounds: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray]:
    """Keep-ratio resize of a picture (bilinear) and its label or depth map (nearest) to ``bounds``."""
    size = rescaled_size(size_of(truth), bounds)
    return resize_image(image, size), resize_label(truth, size)


def random_resize(
    image: np.ndarray,
    label: np.ndarray,
    bounds: tuple[int, int] | None,
    ratio_range: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Keep-ratio resize to ``bounds`` (None: the picture's own size) times one factor uniform in ``ratio_range``."""
    ratio = rng.uniform(*ratio_range)
    long, short = bounds or label.shape
    return resize_pair(image, label, (int(long * ratio), int(short * ratio)))


def random_crop(
    image: np.ndarray, label: np.ndarray, size: tuple[int, int], cat_max_ratio: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Crop a window of at most ``size`` that no single class dominates.

    A window is taken when it holds at least two classes and none covers ``cat_max_ratio`` or more of its labelled
    pixels. After ten windows were refused, an eleventh is taken as it is.
    """
    window = random_window(label.shape, size, rng)
    for _ in range(CROP_TRIES):
        if cat_max_ratio >= 1.0 or is_varied(label[window], cat_max_ratio):
            break
        window = random_window(label.shape, size, rng)
    return image[window], label[window]


def random_window(shape: tuple[int, ...], size: tuple[int, int], rng: np.random.Generator) -> tuple[slice, slice]:
    """Return a window of at most ``size``, uniform among those inside a map of ``shape``."""
    top, left = (int(rng.integers(0, max(have - want, 0) + 1)) for have, want in zip(shape, size, strict=True))
    return slice(top, top + size[0]), slice(left, left + size[1])


def is_varied(label: np.ndarray, cat_max_ratio: float) -> bool:
    """Whether a uint8 label map has two classes or more, and none covers ``cat_max_ratio`` of the labelled pixels."""
    counts = np.bincount(label.ravel(), minlength=IGNORE + 1)[:IGNORE]
    return np.count_nonzero(counts) > 1 and counts.max() / counts.sum() < cat_max_ratio


def random_flip(image: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mirror left and right with probability one half."""
    if rng.random() < 0.5:
        return image[:, ::-1], truth[:, ::-1]
    return image, truth


def photometric_distortion(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, saturation and hue, each with probability one half, rounded down to uint8 after each.

    Contrast comes before saturation and hue or after them, at random.
    """
    image = np.ascontiguousarray(image)
    if _coin(rng):
        image = _linear(image, shift=rng.uniform(-BRIGHTNESS, BRIGHTNESS))
    contrast_first = _coin(rng)
    if contrast_first and _coin(rng):
        image = _linear(image, factor=rng.uniform(*CONTRAST))
    if _coin(rng):
        image = _saturate(image, rng.uniform(*SATURATION))
    if _coin(rng):
        image = _shift_hue(image, int(rng.integers(-HUE, HUE)))
    if not contrast_first and _coin(rng):
        image = _linear(image, factor=rng.uniform(*CONTRAST))
    return image


def normalize(image: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """``(image - mean) / std`` per RGB channel on the 0..255 scale.

    Returns:
        float32 (3, H, W).
    """
    planes = image.transpose(2, 0, 1).astype(np.float32, order="C")  # one channel after another is twice as fast
    planes -= np.asarray(mean, np.float32)[:, None, None]
    planes /= np.asarray(std, np.float32)[:, None, None]
    return planes


def pad(image: np.ndarray, truth: np.ndarray, size: tuple[int, int], fill: int) -> tuple[np.ndarray, np.ndarray]:
    """Extend to ``size`` at the bottom and right: a normalised picture (3, H, W) with 0, its map with ``fill``."""
    bottom, right = (max(want - have, 0) for want, have in zip(size, truth.shape[:2], strict=True))
    truth = np.pad(truth, ((0, bottom), (0, right), *((0, 0),) * (truth.ndim - 2)), constant_values=fill)
    return np.pad(image, ((0, 0), (0, bottom), (0, right))), truth


def _coin(rng: np.random.Generator) -> bool:
    return bool(rng.integers(2))


def _linear(values: np.ndarray, factor: float = 1.0, shift: float = 0.0) -> np.ndarray:
    return np.clip(values.astype(np.float32) * factor + shift, 0, 255).astype(np.uint8)


def _saturate(image: np.ndarray, factor: float) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = _linear(hsv[..., 1], factor=factor)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _shift_hue(image: np.ndarray, shift: int) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(np.int16) + shift) % 180  # a uint8 hue turns once in 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
