"""Augmentation of camera pictures, LiDAR points and ground maps, each with the matrix that the model needs to undo it.

Drawn values are kept apart from their use: a test-time augmentation is one with fixed values.  The order and constants
are those of the released configurations; whatever is random is drawn from the ``rng`` passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image

from ddp_repro.tasks.bev.settings import LIDAR_SCALE, LIDAR_TURN, TEST_RESIZE, TRAIN_RESIZE

MAX_TURN = 5.4  # degrees
LIDAR_SHIFT = 0.5  # metres, standard deviation along each axis


@dataclass(frozen=True, kw_only=True)
class ImageAugmentation:
    """Resize, cut out, mirror, turn: the pixels of a camera to those of the network's picture.

    Attributes:
        size: (height, width) of the result.
        resize: factor.
        left, top: corner of the cut in the resized picture; parts outside are black.
        flip: mirror left and right.
        turn: degrees, counter-clockwise about the centre.
    """

    size: tuple[int, int]
    resize: float
    left: int
    top: int
    flip: bool = False
    turn: float = 0.0

    @classmethod
    def at_test(cls, camera_size: tuple[int, int], size: tuple[int, int], resize: float = TEST_RESIZE) -> Self:
        """Cut the bottom of the picture, in the middle; sizes are (height, width)."""
        height, width = _resized(camera_size, resize)
        return cls(size=size, resize=resize, left=max(0, width - size[1]) // 2, top=height - size[0])

    @classmethod
    def draw(
        cls,
        camera_size: tuple[int, int],
        size: tuple[int, int],
        rng: np.random.Generator,
        resize_range: tuple[float, float] = TRAIN_RESIZE,
    ) -> Self:
        """Cut the bottom of the picture, anywhere along its width; mirrored half of the time."""
        resize = rng.uniform(*resize_range)
        height, width = _resized(camera_size, resize)
        left = int(rng.uniform(0, max(0, width - size[1])))
        flip, turn = bool(rng.integers(2)), rng.uniform(-MAX_TURN, MAX_TURN)
        return cls(size=size, resize=resize, left=left, top=height - size[0], flip=flip, turn=turn)

    def apply(self, picture: Image.Image) -> Image.Image:
        """Pillow's bicubic resize, and its nearest-neighbour turn."""
        height, width = self.size
        resized_height, resized_width = _resized((picture.height, picture.width), self.resize)
        picture = picture.resize((resized_width, resized_height))
        picture = picture.crop((self.left, self.top, self.left + width, self.top + height))
        if self.flip:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return picture.rotate(self.turn)

    def matrix(self) -> np.ndarray:
        """(4, 4) float32, acting on (u, v, ...) of the camera."""
        height, width = self.size
        cut = _affine(np.eye(2) * self.resize, (-self.left, -self.top))
        mirror = _affine(np.diag([-1.0, 1.0]), (width, 0)) if self.flip else np.eye(4)
        sine, cosine = np.sin(np.deg2rad(self.turn)), np.cos(np.deg2rad(self.turn))
        turn, centre = np.array([[cosine, sine], [-sine, cosine]]), np.array([width, height]) / 2
        return (_affine(turn, centre - turn @ centre) @ mirror @ cut).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class LidarAugmentation:
    """Turn, shift, scale, mirror the LiDAR frame, in this order.

    Attributes:
        turn: radians, clockwise seen from above.
        shift: (x, y, z) metres, before scaling.
        scale: factor.
        flip_x, flip_y: change the sign of x or y.
    """

    turn: float = 0.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def draw(cls, rng: np.random.Generator, turn: float = LIDAR_TURN, scale: tuple[float, float] = LIDAR_SCALE) -> Self:
        """As in the released training, unless told otherwise: up to ``turn`` degrees, a factor within ``scale``."""
        x, y, z = rng.normal(0, LIDAR_SHIFT, 3)
        return cls(
            turn=np.deg2rad(rng.uniform(-turn, turn)),
            shift=(float(x), float(y), float(z)),
            scale=rng.uniform(*scale),
            flip_x=bool(rng.integers(2)),
            flip_y=bool(rng.integers(2)),
        )

    def matrix(self) -> np.ndarray:
        """(4, 4) float32, acting on (x, y, z, 1)."""
        turned = _affine(np.array([[np.cos(self.turn), np.sin(self.turn)], [-np.sin(self.turn), np.cos(self.turn)]]))
        turned[:3, 3] = self.shift
        signs = np.diag([-1.0 if self.flip_x else 1.0, -1.0 if self.flip_y else 1.0, 1.0, 1.0])
        return (signs @ np.diag([self.scale, self.scale, self.scale, 1.0]) @ turned).astype(np.float32)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points (P, 3 or more) float32, x, y, z first -> the same with x, y, z moved."""
        matrix, moved = self.matrix().astype(np.float64), points.copy()
        moved[:, :3] = points[:, :3] @ matrix[:3, :3].T + matrix[:3, 3]
        return moved

    def mirror(self, masks: np.ndarray) -> np.ndarray:
        """Masks (K, X, Y), drawn in the frame that was turned and shifted, with the mirroring made up for.

        The released code does not make up for the scale (up to 10 %), and neither does this.
        """
        masks = masks[:, ::-1] if self.flip_x else masks
        return np.ascontiguousarray(masks[:, :, ::-1] if self.flip_y else masks)


def _resized(size: tuple[int, int], factor: float) -> tuple[int, int]:
    return int(size[0] * factor), int(size[1] * factor)


def _affine(linear: np.ndarray, shift: tuple[float, float] | np.ndarray = (0.0, 0.0)) -> np.ndarray:
    """(4, 4) float64 that acts on the first two coordinates."""
    matrix = np.eye(4)
    matrix[:2, :2], matrix[:2, 3] = linear, shift
    return matrix
