"""The film on which a room is pictured: a ray for every pixel, and what it has met so far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.scenes.room import Room
from data_prep.scenes.room_things import Piece

NEAREST = 0.05  # metres; what is nearer than this to the camera's plane is not seen
Window = tuple[slice, slice]  # rows and columns


@dataclass
class Film:
    """Rays and what they met, in the room's axes and in single precision, on a grid twice as fine as the picture's."""

    origin: np.ndarray  # (3,) the camera
    rays: np.ndarray  # (3, H, W), of length 1 along the optical axis
    depth: np.ndarray  # (H, W) metres along the optical axis
    color: np.ndarray  # (H, W, 3) before light
    normal: np.ndarray  # (3, H, W)
    classes: np.ndarray  # (H, W) uint8, indices into ROOM_CLASSES
    owner: np.ndarray  # (H, W) int16, index of the piece; -1: walls, floor and ceiling
    glow: np.ndarray  # (H, W) bool, shines by itself

    @property
    def points(self) -> np.ndarray:
        """(3, H, W): where the rays end."""
        return self.origin[:, None, None] + self.depth * self.rays


def load_film(room: Room) -> Film:
    """Return a film with rays alone."""
    camera = room.view.camera.doubled()
    size = (camera.height, camera.width)
    across = (np.arange(camera.width) + 0.5 - camera.center_x) / camera.focal
    up = (camera.horizon - np.arange(camera.height) - 0.5) / camera.focal
    rays = np.tensordot(room.view.rotation(), np.stack([*np.meshgrid(across, up), np.ones(size)]), 1)
    rays = np.where(np.abs(rays) < 1e-7, 1e-7, rays)  # never parallel to a plane
    return Film(
        origin=room.view.position.astype(np.float32),
        rays=rays.astype(np.float32),
        depth=np.full(size, np.inf, np.float32),
        color=np.zeros((*size, 3), np.float32),
        normal=np.zeros((3, *size), np.float32),
        classes=np.zeros(size, np.uint8),
        owner=np.full(size, -1, np.int16),
        glow=np.zeros(size, bool),
    )


def turned(x: np.ndarray, z: np.ndarray, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """From the room's axes to those of a piece turned by ``turn``; back again with ``-turn``."""
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    return x * cos - z * sin, x * sin + z * cos


def window(room: Room, piece: Piece, low: np.ndarray, high: np.ndarray) -> Window | None:
    """Return the part of the film that may show a box given by two corners on a piece's axes; None if none does."""
    corners = np.array([(x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    corners[:, 0], corners[:, 2] = turned(corners[:, 0], corners[:, 2], -piece.turn)
    corners += np.array([piece.x, 0, piece.z]) - room.view.position
    right, up, ahead = (corners @ room.view.rotation()).T
    camera = room.view.camera.doubled()
    if (ahead < NEAREST).all():
        return None
    if (ahead < NEAREST).any():
        return slice(0, camera.height), slice(0, camera.width)
    cols = _span(right / ahead * camera.focal + camera.center_x, camera.width)
    rows = _span(camera.horizon - up / ahead * camera.focal, camera.height)
    return (rows, cols) if rows.start < rows.stop and cols.start < cols.stop else None


def _span(positions: np.ndarray, limit: int) -> slice:
    return slice(max(int(positions.min()) - 1, 0), min(int(positions.max()) + 2, limit))
