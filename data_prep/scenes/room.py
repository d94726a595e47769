"""Descriptions of rooms: walls, what hangs on them, furniture, lamps and the camera. Random ones: :func:`random_room`.

World axes in metres: x to the right, y up from the floor, z from the wall behind the camera to the one it looks at.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from data_prep.scenes.canvas import Camera, Color
from data_prep.scenes.looks import pick_color
from data_prep.scenes.room_things import (
    AT_WALLS,
    BLACK,
    FABRICS,
    LOOSE,
    PAINTS,
    SHINE,
    WHITE,
    WOODS,
    Piece,
    ball,
    box,
    drum,
)

TILES: tuple[Color, ...] = ((0.55, 0.33, 0.24), (0.46, 0.46, 0.47), (0.30, 0.32, 0.35), (0.62, 0.56, 0.47))
DAYLIGHT: Color = (0.86, 0.95, 1.08)


@dataclass(frozen=True)
class View:
    """A camera held in a room: its lens, where it is, and how it is turned from looking level along z."""

    camera: Camera  # ``horizon`` is the row of the optical axis, ``elevation`` the height above the floor
    x: float
    z: float
    yaw: float = 0.0  # radians to the right
    pitch: float = 0.0  # radians upwards
    roll: float = 0.0  # radians clockwise

    def rotation(self) -> np.ndarray:
        """float64 (3, 3): from camera axes (right, up, ahead) to the room's."""
        (a, b), (c, d), (e, f) = ((np.cos(t), np.sin(t)) for t in (self.yaw, self.pitch, self.roll))
        yaw = np.array([[a, 0, b], [0, 1, 0], [-b, 0, a]])
        pitch = np.array([[1, 0, 0], [0, c, d], [0, -d, c]])
        roll = np.array([[e, f, 0], [-f, e, 0], [0, 0, 1]])
        return yaw @ pitch @ roll

    @property
    def position(self) -> np.ndarray:
        """float64 (3,): the camera's centre."""
        return np.array([self.x, self.camera.elevation, self.z])


@dataclass(frozen=True)
class Glow:
    """A small source of light, or the middle of a large one."""

    position: tuple[float, float, float]
    color: Color


@dataclass(frozen=True)
class Finish:
    """Colour and pattern of the floor, the ceiling or the walls."""

    color: Color
    look: str = "plain"
    seed: int = 0


@dataclass(frozen=True)
class Room:
    """Everything that determines a picture of a room; x runs over ±width/2, y over 0..height, z over 0..length."""

    view: View
    width: float
    height: float
    length: float
    walls: tuple[Finish, Finish]  # left and right; far and near
    floor: Finish
    ceiling: Finish
    pieces: tuple[Piece, ...]
    glows: tuple[Glow, ...]
    ambient: Color
    exposure: float  # mean brightness of the picture, 0..1 scale
    blur: float  # pixels
    grain: float  # standard deviation of the sensor noise, 0..1 scale
    seed: int


def random_room(
    rng: np.random.Generator, width: int, height: int, *, focal: float, elevation: tuple[float, float] = (1.2, 1.6)
) -> Room:
    """Draw a furnished room and a view of it; equal generators give equal rooms.

    Args:
        width, height: of the picture, in pixels.
        focal: in pixels.
        elevation: range of the camera's height above the floor, in metres.
    """
    wide, long, high = rng.uniform(3.0, 6.5), rng.uniform(3.0, 8.0), rng.uniform(2.4, 3.2)
    paint = pick_color(rng, PAINTS)
    looks = ("plain", "plain", "plain", "stripes", "flowers")
    sides = Finish(paint, str(rng.choice(looks)), _seed(rng))
    accent = Finish(pick_color(rng, PAINTS), str(rng.choice((*looks, "bricks"))), _seed(rng))
    room = Room(
        view=_view(rng, Camera(width, height, focal, width / 2, height / 2, rng.uniform(*elevation)), wide, long),
        width=wide,
        height=high,
        length=long,
        walls=(sides, accent if rng.random() < 0.35 else sides),
        floor=_floor(rng),
        ceiling=Finish(pick_color(rng, (WHITE, WHITE, PAINTS[1])), "plain", _seed(rng)),
        pieces=(),
        glows=(),
        ambient=(0.30, 0.29, 0.28),
        exposure=rng.uniform(0.32, 0.52),
        blur=rng.uniform(0.0, 0.6),
        grain=rng.uniform(0.006, 0.025),
        seed=int(rng.integers(1 << 30)),
    )
    return _light(rng, _furnish(rng, _decorate(rng, room)))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 16))


def _view(rng: np.random.Generator, camera: Camera, wide: float, long: float) -> View:
    """Somebody stands in the near part of the room and looks into it, a little down."""
    x = rng.uniform(-0.32, 0.32) * wide
    aim = rng.uniform(-0.4, 0.4) * wide - x  # a point of the far wall
    return View(
        camera,
        x=x,
        z=rng.uniform(0.3, 0.9),
        yaw=float(np.arctan2(aim, long)) + rng.normal(0, 0.2),
        pitch=rng.uniform(-0.17, -0.09),
        roll=rng.normal(0, 0.01),
    )


def _floor(rng: np.random.Generator) -> Finish:
    look = str(rng.choice(("planks", "planks", "tiles", "carpet")))
    colors = {"planks": WOODS[:3], "tiles": TILES, "carpet": FABRICS}[look]  # mostly darker than walls
    return Finish(pick_color(rng, colors), look, _seed(rng))


def _at_wall(room: Room, piece: Piece, wall: int, along: float) -> Piece:
    """``piece`` with its back at the far (0), left (1) or right (2) wall, ``along`` metres from the wall's middle."""
    back = piece.bounds[1, 2]
    x, z, turn = (
        (along, room.length - back, 0.0),
        (-room.width / 2 + back, room.length / 2 + along, -np.pi / 2),
        (room.width / 2 - back, room.length / 2 - along, np.pi / 2),
    )[wall]
    return dataclasses.replace(piece, x=x, z=z, turn=turn)


def _decorate(rng: np.random.Generator, room: Room) -> Room:
    """Doors, windows with or without curtains, and pictures."""
    pieces: list[Piece] = []
    for wall in range(3):
        extent = room.width if wall == 0 else room.length
        end = -extent / 2 + rng.uniform(0.2, 0.8)
        while end < extent / 2 - 0.5:
            piece = _hanging(rng, room.height)
            half = piece.bounds[1, 0]
            if end + 2 * half < extent / 2 - 0.1:
                pieces.append(_at_wall(room, piece, wall, end + half))
            end += 2 * half + rng.uniform(0.15, 1.0)
    return dataclasses.replace(room, pieces=tuple(pieces))


def _hanging(rng: np.random.Generator, high: float) -> Piece:
    draw = rng.random()
    if draw < 0.2:
        color = pick_color(rng, (*WOODS, WHITE))
        return Piece((box(0, 0, 0, rng.uniform(0.85, 1.0), 2.1, 0.05, color, "door", kind="door", seed=_seed(rng)),))
    if draw < 0.45:
        wide, low = rng.uniform(0.8, 2.2), rng.uniform(0.7, 1.0)
        top = min(rng.uniform(1.9, 2.3), high - 0.2)
        parts = [box(0, low, 0, wide, top - low, 0.05, (1, 1, 1), "window", kind="window", seed=_seed(rng), glow=True)]
        parts.append(box(0, low - 0.05, -0.05, wide + 0.1, 0.05, 0.15, WHITE))
        if rng.random() < 0.5:
            color, bottom = pick_color(rng, FABRICS + PAINTS), rng.choice((0.05, low - 0.15))
            for side in (-1, 1):
                x, size = side * (wide / 2 + 0.08), (0.3, top + 0.1 - bottom, 0.08)
                parts.append(box(x, bottom, -0.04, *size, color, "curtain", kind="thing", seed=_seed(rng)))
        return Piece(tuple(parts))
    wide, tall = rng.uniform(0.3, 1.1), rng.uniform(0.3, 0.9)
    y = rng.uniform(1.5, 1.7) - tall / 2
    return Piece((box(0, y, 0, wide, tall, 0.03, (1, 1, 1), "picture", kind="picture", seed=_seed(rng)),))


def _furnish(rng: np.random.Generator, room: Room) -> Room:
    """Furniture along the walls and in between, none of it in another or in front of the lens."""
    taken = [_footprint(piece) for piece in room.pieces if piece.parts[0].kind == "door"]
    view, pieces = room.view, list(room.pieces)
    if rng.random() < 0.4:
        wide, deep = rng.uniform(1.2, min(2.4, room.width - 0.4)), rng.uniform(1.2, 2.0)
        carpet = box(0, 0, 0, wide, 0.012, deep, pick_color(rng, FABRICS), "rug", kind="floor", seed=_seed(rng))
        pieces.append(Piece((carpet,), rng.uniform(-0.3, 0.3), room.length * rng.uniform(0.45, 0.6)))
    taken.append(np.array([[view.x - 0.45, view.z - 0.45], [view.x + 0.45, view.z + 0.65]]))
    tries = int(room.width + 1.5 * room.length) + 4
    for i in range(tries):
        if i % 3:
            piece = AT_WALLS[int(rng.integers(len(AT_WALLS)))](rng)
            wall = int(rng.integers(3))
            free = (room.width if wall == 0 else room.length) / 2 - piece.bounds[1, 0] - 0.05
            piece = _at_wall(room, piece, wall, rng.uniform(-1, 1) * max(free, 0.0))
        else:
            piece = LOOSE[int(rng.integers(len(LOOSE)))](rng)
            x, z = rng.uniform(-0.35, 0.35) * room.width, rng.uniform(0.3, 0.8) * room.length
            turn = float(rng.choice((0, 0, np.pi / 2, -np.pi / 2, np.pi)) + rng.normal(0, 0.25))
            piece = dataclasses.replace(piece, x=x, z=z, turn=turn)
        place = _footprint(piece)
        edge = np.array([room.width / 2, room.length / 2]) + 0.01
        inside = (np.abs(place - (0, room.length / 2)) <= edge).all()
        if inside and not any((place[0] < other[1]).all() and (other[0] < place[1]).all() for other in taken):
            pieces.append(piece)
            taken.append(place)
    return dataclasses.replace(room, pieces=tuple(pieces))


def _footprint(piece: Piece) -> np.ndarray:
    """(2, 2): lowest and highest x, z that a piece covers, on the room's axes."""
    (x0, _, z0), (x1, _, z1) = piece.bounds
    corners = np.array([(x, z) for x in (x0, x1) for z in (z0, z1)])
    cos, sin = np.cos(piece.turn), np.sin(piece.turn)
    turned = corners @ np.array([[cos, -sin], [sin, cos]]) + (piece.x, piece.z)
    return np.array([turned.min(0), turned.max(0)])


def _light(rng: np.random.Generator, room: Room) -> Room:
    """Lamps hanging from the ceiling or set into it, standard lamps, and daylight through the windows."""
    glows, pieces, day = [], list(room.pieces), rng.random() < 0.6
    if not day or rng.random() < 0.5:
        for z in (0.5,) if room.length < 5 else (0.3, 0.75):
            drop = rng.choice((0.06, rng.uniform(0.3, 0.7)))
            pieces.append(_ceiling_lamp(rng, room.height, drop, z * room.length))
            power = rng.uniform(0.8, 1.3)
            glows.append(Glow((0.0, room.height - drop - 0.12, z * room.length), _scale(SHINE, power)))
    for piece in room.pieces:
        first, (cos, sin) = piece.parts[0], (np.cos(piece.turn), np.sin(piece.turn))
        if first.kind == "lamp":
            glows.append(Glow((piece.x, first.y + 0.15, piece.z), _scale(SHINE, 0.45)))
        if first.kind == "window" and day:  # in front of the panes, as daylight comes from all over them
            position = (piece.x - 0.5 * sin, first.y + first.height / 2, piece.z - 0.5 * cos)
            glows.append(Glow(position, _scale(DAYLIGHT, 0.55 * first.width * rng.uniform(0.7, 1.2))))
    ambient = _scale((0.46, 0.46, 0.48) if day else (0.34, 0.31, 0.27), rng.uniform(0.8, 1.2))
    return dataclasses.replace(room, pieces=tuple(pieces), glows=tuple(glows), ambient=ambient)


def _ceiling_lamp(rng: np.random.Generator, high: float, drop: float, z: float) -> Piece:
    if drop < 0.1:
        return Piece((drum(0, high - drop, 0, 0.36, drop, SHINE, kind="lamp", glow=True),), 0.0, z)
    size = rng.uniform(0.25, 0.45)
    globe = ball(0, high - drop - 0.1, 0, size, 0.25, size, SHINE, kind="lamp", glow=True)
    return Piece((globe, drum(0, high - drop, 0, 0.02, drop, BLACK, kind="lamp")), 0.0, z)


def _scale(color: Color, factor: float) -> Color:
    red, green, blue = (c * factor for c in color)
    return red, green, blue
