"""From a room to pixels: a ray through every pixel meets the walls and every part; then light, lens and sensor."""

from __future__ import annotations

import cv2
import numpy as np

from data_prep.scenes.render import TENT, Rendering, photograph
from data_prep.scenes.room import Room
from data_prep.scenes.room_film import NEAREST, Film, Window, load_film, turned, window
from data_prep.scenes.room_light import illuminate
from data_prep.scenes.room_looks import LOOKS, Spot
from data_prep.scenes.room_shapes import meet, normals
from data_prep.scenes.room_things import ROOM_CLASSES, Part, Piece


def render_room(room: Room) -> Rendering:
    """Render a room; equal rooms give equal pixels. The classes are indices into ``scenes.ROOM_CLASSES``."""
    film = load_film(room)
    _paint_shell(film, room)
    for index, piece in enumerate(room.pieces):
        _paint_piece(film, room, index, piece)
    rgb = cv2.sepFilter2D(illuminate(film, room), -1, TENT, TENT)
    centers = np.s_[1::2, 1::2]
    picture = photograph(rgb[centers], blur=room.blur, grain=room.grain, seed=room.seed)
    # The film's axes are the room's; a camera's normals are on its own, with y down.
    seen = np.tensordot(film.normal[:, 1::2, 1::2], room.view.rotation().astype(np.float32), (0, 0))
    return Rendering(
        picture,
        film.classes[centers].copy(),
        film.depth[centers].copy(),
        seen * np.array([1, -1, 1], np.float32),
        film.owner[centers].copy(),
    )


def _paint_shell(film: Film, room: Room) -> None:
    """Walls, floor and ceiling: every ray ends at the first plane through which it would leave the room."""
    low = np.array([-room.width / 2, 0, 0], np.float32)[:, None, None]
    high = np.array([room.width / 2, room.height, room.length], np.float32)[:, None, None]
    leaving = (np.where(film.rays > 0, high, low) - film.origin[:, None, None]) / film.rays
    axis = leaving.argmin(0)
    film.depth[:] = leaving.min(0)
    for k in range(3):
        film.normal[k] = np.where(axis == k, -np.sign(film.rays[k]), 0)
    points, downwards = film.points, film.rays[1] < 0
    for name, finish, mask, across, along in (
        ("wall", room.walls[0], axis == 0, 2, 1),
        ("wall", room.walls[1], axis == 2, 0, 1),
        ("floor", room.floor, (axis == 1) & downwards, 0, 2),
        ("ceiling", room.ceiling, (axis == 1) & ~downwards, 0, 2),
    ):
        if not mask.any():
            continue
        at = _bounding(mask)
        s, t = points[across][at], points[along][at]
        tone = LOOKS[finish.look](Spot(s, t, mask[at], room.width, room.height, finish.seed))
        if name == "wall":
            tone = np.where(t < 0.09, np.float32(0.75), tone)  # skirting board
        film.color[at][mask[at]] = _colored(tone, finish.color)[mask[at]]
        film.classes[mask] = ROOM_CLASSES.index(name)


def _bounding(mask: np.ndarray) -> Window:
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)


def _colored(tone: np.ndarray, color: tuple[float, float, float]) -> np.ndarray:
    """(h, w, 3) from factors (h, w) or (h, w, 3)."""
    return (tone if tone.ndim == 3 else tone[..., None]) * np.asarray(color, np.float32)


def _paint_piece(film: Film, room: Room, index: int, piece: Piece) -> None:
    start = film.origin - np.array([piece.x, 0, piece.z], np.float32)
    start[0], start[2] = turned(start[0], start[2], piece.turn)
    for part in piece.parts:
        middle = np.array([part.x, part.y + part.height / 2, part.z], np.float32)
        half = np.array([part.width, part.height, part.depth], np.float32) / 2
        at = window(room, piece, middle - half, middle + half)
        if at is not None:
            x, y, z = film.rays[(slice(None), *at)]
            x, z = turned(x, z, piece.turn)
            _paint_part(film, index, piece.turn, part, at, start - middle, np.stack([x, y, z]), half)


def _paint_part(
    film: Film, index: int, turn: float, part: Part, at: Window, start: np.ndarray, rays: np.ndarray, half: np.ndarray
) -> None:
    """Paint a part where it is what the rays meet first; ``start`` and ``rays`` are on its piece's axes."""
    near, far, axis = meet(part.shape, start, rays, half)
    hit = (near < far) & (near > NEAREST) & (near < film.depth[at])
    if not hit.any():
        return
    near = np.where(hit, near, np.float32(0))
    points = start[:, None, None] + near * rays
    x, y, z = points
    s, t = np.where(axis == 0, z, x), np.where(axis == 1, z + half[2], y + half[1])
    tone = LOOKS[part.look](Spot(s, t, axis == 2, part.width, part.height, part.seed))
    normal = normals(part.shape, points, rays, half, axis)
    normal[0], normal[2] = turned(normal[0], normal[2], -turn)
    film.color[at][hit] = _colored(tone, part.color)[hit]
    film.normal[(slice(None), *at)][:, hit] = normal[:, hit]
    film.depth[at][hit] = near[hit]
    film.classes[at][hit] = ROOM_CLASSES.index(part.kind)
    film.owner[at][hit] = index
    film.glow[at][hit] = part.glow
