"""Where rays meet boxes, upright cylinders and ellipsoids: each is an intersection of intervals along the ray."""

from __future__ import annotations

import numpy as np

# Of each shape: depth of entry and of exit, and the axis (0 x, 1 y, 2 z) of the side that is entered; 2 where round.
Meeting = tuple[np.ndarray, np.ndarray, np.ndarray]


def meet(shape: str, start: np.ndarray, rays: np.ndarray, half: np.ndarray) -> Meeting:
    """Where rays enter and leave a shape; they miss it where the entry is not before the exit.

    Args:
        shape: "box", "cylinder" or "ellipsoid".
        start: (3,) the camera, seen from the shape's middle.
        rays: (3, h, w).
        half: (3,) half the shape's size along each axis.

    Returns:
        Three arrays (h, w): entry, exit (both in lengths of the rays), and the axis of the side that is entered
        (2 on round sides).
    """
    if shape == "box":
        enter, leave = _slabs(start, rays, half)
        return enter.max(0), leave.min(0), enter.argmax(0)
    if shape == "ellipsoid":
        near, far = _round(start, rays, half)
        return near, far, np.full(near.shape, 2)
    near, far = _round(start[::2], rays[::2], half[::2])
    (cap_near,), (cap_far,) = _slabs(start[1:2], rays[1:2], half[1:2])
    return np.maximum(near, cap_near), np.minimum(far, cap_far), np.where(cap_near > near, 1, 2)


def normals(shape: str, points: np.ndarray, rays: np.ndarray, half: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """(3, h, w): outward unit normals at ``points`` (3, h, w), relative to the shape's middle, entered at ``axis``."""
    flat = np.stack([np.where(axis == k, -np.sign(rays[k]), np.float32(0)) for k in range(3)])
    if shape == "box":
        return flat
    curved = points / (half * half)[:, None, None]
    if shape == "cylinder":
        curved[1] = 0
    curved /= np.maximum(np.sqrt((curved * curved).sum(0)), np.float32(1e-6))
    return np.where(axis == 1, flat, curved)


def _slabs(start: np.ndarray, rays: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Entry and exit of the space between two planes, for each axis given."""
    middle, reach = -start[:, None, None] / rays, half[:, None, None] / np.abs(rays)
    return middle - reach, middle + reach


def _round(start: np.ndarray, rays: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Entry and exit of an ellipsoid or, with two axes, an endless cylinder; the entry is infinite on a miss."""
    o, d = (start / half)[:, None, None], rays / half[:, None, None]  # now it has radius 1
    a, b, c = (d * d).sum(0), (o * d).sum(0), (o * o).sum(0) - 1
    square = b * b - a * c
    width = np.sqrt(np.maximum(square, 0)) / a
    return np.where(square > 0, -b / a - width, np.float32(np.inf)), -b / a + width
