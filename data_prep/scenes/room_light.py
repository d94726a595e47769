"""Light in a room: lamps, windows, and the soft shadows where surfaces meet."""

from __future__ import annotations

import numpy as np

from data_prep.scenes.room import Room
from data_prep.scenes.room_film import Film, turned, window

_REACH = 0.35  # metres over which a piece darkens what is beside it


def illuminate(film: Film, room: Room) -> np.ndarray:
    """(H, W, 3) in 0..1: colour times light at the camera's automatic exposure, bright parts held back."""
    lit = film.color * _light(film, room)
    gain = room.exposure / max(float(lit[~film.glow].mean()), 1e-3)
    return 1 - np.exp(-1.3 * np.where(film.glow[..., None], film.color, lit * np.float32(gain)))


def _light(film: Film, room: Room) -> np.ndarray:
    """(H, W, 3): what every surface gets from all around, dimmed in corners, and from every source."""
    points, light = film.points, np.empty(film.color.shape, np.float32)
    light[:] = np.asarray(room.ambient, np.float32)
    for glow in room.glows:
        away = np.asarray(glow.position, np.float32)[:, None, None] - points
        square = (away * away).sum(0) + np.float32(1e-4)
        slope = (away * film.normal).sum(0) / np.sqrt(square)
        # Neither a point nor seen over an edge only: light wraps around, and does not grow without bound.
        strength = np.maximum(slope + np.float32(0.25), 0) / (np.float32(0.6) + square / np.float32(3.6))
        light += strength[..., None] * np.asarray(glow.color, np.float32)
    return light * _openness(film, room, points)[..., None]


def _openness(film: Film, room: Room, points: np.ndarray) -> np.ndarray:
    """(H, W) factors: where walls meet, and under and beside furniture, it is darker."""
    x, y, z = points
    closed = np.ones(film.depth.shape, np.float32)
    for gap in (room.width / 2 - np.abs(x), y, room.height - y, z, room.length - z):
        closed += np.float32(0.4) * np.exp(-np.maximum(gap, 0) / np.float32(0.25))
    factors = 1.3 / closed
    for index, piece in enumerate(room.pieces):
        low, high = piece.bounds
        flat = min(high[1] - low[1], high[2] - low[2]) < 0.1  # pictures and rugs
        at = None if flat else window(room, piece, low - _REACH, high + _REACH)
        if at is None:
            continue
        across, along = turned(x[at] - np.float32(piece.x), z[at] - np.float32(piece.z), piece.turn)
        square = np.zeros(across.shape, np.float32)
        for p, a, b in zip((across, y[at], along), low, high, strict=True):
            square += np.square(np.maximum(np.abs(p - np.float32((a + b) / 2)) - np.float32((b - a) / 2), 0))
        shadow = np.float32(0.5) * np.maximum(1 - np.sqrt(square) / np.float32(_REACH), 0) ** 2
        factors[at] *= np.where(film.owner[at] == index, np.float32(1), 1 - shadow)
    return factors
