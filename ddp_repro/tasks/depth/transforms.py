"""The depth image pipeline as pure functions on arrays; whatever is random is drawn from the ``rng`` passed in.

Depth maps are float32 (H, W) in metres, 0 where nothing was measured. They are never interpolated: a mean of two
depths, or of a depth and "not measured", is the depth of nothing. Constants are those of the released configurations.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ddp_repro.data.transforms import random_window

Window = tuple[slice, slice]
Range = tuple[float, float]

KB_SIZE = (352, 1216)
NYU_SIZE, NYU_ROWS, NYU_COLUMNS = (480, 640), (45, 472), (43, 608)


@dataclass(frozen=True, kw_only=True)
class ColorJitter:
    """Ranges of :func:`random_color`: the exponent and the factors of all channels and of each."""

    gamma: Range = (0.9, 1.1)
    brightness: Range = (0.9, 1.1)
    channel: Range = (0.9, 1.1)


UNCHANGED = ColorJitter(gamma=(1.0, 1.0), brightness=(1.0, 1.0), channel=(1.0, 1.0))


def whole_window(size: tuple[int, int]) -> Window:
    """All of a picture of ``size`` (height, width)."""
    return slice(0, size[0]), slice(0, size[1])


def kb_window(size: tuple[int, int]) -> Window:
    """KITTI benchmark crop: at most 352 x 1216 pixels, at the bottom (above there is no LiDAR return) and centred."""
    height, width = (min(have, want) for have, want in zip(size, KB_SIZE, strict=True))
    left = (size[1] - width) // 2
    return slice(size[0] - height, size[0]), slice(left, left + width)


def nyu_window(size: tuple[int, int]) -> Window:
    """NYU training crop, without the frame that has no depth: rows 45:472 and columns 43:608 of 480 x 640.

    Other sizes are cut in proportion.
    """
    rows, columns = (
        slice(*(round(bound * have / full) for bound in bounds))
        for bounds, have, full in zip((NYU_ROWS, NYU_COLUMNS), size, NYU_SIZE, strict=True)
    )
    return rows, columns


def random_rotation(
    image: np.ndarray, depth: np.ndarray, degrees: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """With probability one half, turn about the centre by at most ``degrees`` either way; 0 fills the corners."""
    if rng.random() >= 0.5:
        return image, depth
    height, width = depth.shape
    centre = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, rng.uniform(-degrees, degrees), 1.0)
    image = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return image, cv2.warpAffine(depth, matrix, (width, height), flags=cv2.INTER_NEAREST)


def random_crop(
    image: np.ndarray, depth: np.ndarray, size: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One window of at most ``size`` of both."""
    window = random_window(depth.shape, size, rng)
    return image[window], depth[window]


def random_color(image: np.ndarray, jitter: ColorJitter, rng: np.random.Generator) -> np.ndarray:
    """With probability one half, ``clip(image ** gamma * brightness * channel, 0, 255)``.

    As released, the power acts on values of 0..255 and not of 0..1, so that gamma also brightens or darkens: 128
    becomes 79 at 0.9 and 208 at 1.1.

    Returns:
        (H, W, 3): the uint8 picture as it was, or float32 on the same scale, not rounded.
    """
    if rng.random() >= 0.5:
        return image
    factors = rng.uniform(*jitter.brightness) * rng.uniform(*jitter.channel, size=3)
    powers = np.arange(256.0)[:, None] ** rng.uniform(*jitter.gamma)
    table = np.clip(powers * factors, 0, 255).astype(np.float32)  # (256, 3): all that the 8-bit values can become
    return cv2.LUT(np.ascontiguousarray(image), table[None])
