"""What rooms consist of: parts of simple shape, pieces made of parts, and the builders of pieces of furniture.

A piece has its own axes in metres: x along its width, y up from the floor, z towards its back, which may stand at a
wall; its front looks along -z. Its origin is the middle of its footprint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from data_prep.scenes.canvas import Color
from data_prep.scenes.looks import pick_color

ROOM_CLASSES = ("wall", "floor", "ceiling", "window", "door", "picture", "lamp", "furniture", "thing")

WOODS: tuple[Color, ...] = ((0.55, 0.37, 0.22), (0.70, 0.54, 0.36), (0.34, 0.22, 0.14), (0.80, 0.78, 0.74))
FABRICS: tuple[Color, ...] = (
    (0.36, 0.38, 0.42), (0.55, 0.24, 0.20), (0.24, 0.32, 0.46), (0.66, 0.60, 0.50), (0.28, 0.38, 0.28),
    (0.20, 0.20, 0.22), (0.72, 0.58, 0.26),
)  # fmt: skip
PAINTS: tuple[Color, ...] = (
    (0.84, 0.82, 0.78), (0.78, 0.74, 0.64), (0.70, 0.76, 0.78), (0.76, 0.70, 0.70), (0.66, 0.72, 0.62),
    (0.74, 0.62, 0.54), (0.58, 0.66, 0.74),
)  # fmt: skip
WHITE: Color = (0.86, 0.86, 0.84)
BLACK: Color = (0.07, 0.07, 0.08)
STEEL: Color = (0.52, 0.53, 0.55)
SHINE: Color = (1.0, 0.95, 0.82)


@dataclass(frozen=True)
class Part:
    """A box, or the upright cylinder or ellipsoid that fits into it."""

    shape: Literal["box", "cylinder", "ellipsoid"]
    x: float  # middle
    y: float  # bottom
    z: float  # middle
    width: float
    height: float
    depth: float
    color: Color
    look: str = "plain"  # a key of room_looks.LOOKS
    kind: str = "furniture"  # one of ROOM_CLASSES
    seed: int = 0
    glow: bool = False  # shines by itself


@dataclass(frozen=True)
class Piece:
    """Parts that stand together: where, and turned by how much (radians, about the vertical)."""

    parts: tuple[Part, ...]
    x: float = 0.0
    z: float = 0.0
    turn: float = 0.0

    @property
    def bounds(self) -> np.ndarray:
        """float64 (2, 3): lowest and highest x, y, z of its parts, on its own axes."""
        low = [(p.x - p.width / 2, p.y, p.z - p.depth / 2) for p in self.parts]
        high = [(p.x + p.width / 2, p.y + p.height, p.z + p.depth / 2) for p in self.parts]
        return np.array([np.min(low, 0), np.max(high, 0)])


def box(x: float, y: float, z: float, width: float, height: float, depth: float, color: Color, look: str = "plain",
        **more) -> Part:  # fmt: skip
    """Return a box by the middle of its bottom and its size."""
    return Part("box", x, y, z, width, height, depth, color, look, **more)


def drum(x: float, y: float, z: float, diameter: float, height: float, color: Color, look: str = "plain",
         **more) -> Part:  # fmt: skip
    """Return an upright cylinder by the middle of its bottom, its diameter and height."""
    return Part("cylinder", x, y, z, diameter, height, diameter, color, look, **more)


def ball(x: float, y: float, z: float, width: float, height: float, depth: float, color: Color, look: str = "plain",
         **more) -> Part:  # fmt: skip
    """Return an ellipsoid by the middle of its bottom and its size."""
    return Part("ellipsoid", x, y, z, width, height, depth, color, look, **more)


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 16))


def _legs(width: float, depth: float, height: float, thick: float, color: Color) -> list[Part]:
    across, along = width / 2 - thick, depth / 2 - thick
    return [box(i * across, 0, k * along, thick, height, thick, color, "wood") for i in (-1, 1) for k in (-1, 1)]


def _clutter(rng: np.random.Generator, width: float, depth: float, top: float) -> list[Part]:
    """Small things on a surface."""
    parts = []
    for x in np.linspace(-0.38, 0.38, max(int(width / 0.35), 2)) * width:
        x, z = float(x), float(rng.uniform(-0.25, 0.25)) * depth
        color, draw = pick_color(rng, FABRICS + PAINTS), rng.random()
        if draw < 0.25:
            size = rng.uniform(0.16, 0.28)
            parts.append(box(x, top, z, size, rng.uniform(0.03, 0.14), size * 0.75, color, kind="thing"))
        elif draw < 0.45:
            parts.append(drum(x, top, z, rng.uniform(0.07, 0.14), rng.uniform(0.09, 0.28), color, kind="thing"))
        elif draw < 0.55:
            size = rng.uniform(0.1, 0.2)
            parts.append(ball(x, top, z, size, size, size, color, kind="thing"))
    return parts


def table(rng: np.random.Generator) -> Piece:
    """Build a dining table or a low one, square or round."""
    low, color = rng.random() < 0.4, pick_color(rng, WOODS)
    height, width, depth = (0.42, rng.uniform(0.7, 1.1), rng.uniform(0.5, 0.7)) if low else (
        rng.uniform(0.70, 0.76), rng.uniform(0.9, 1.7), rng.uniform(0.7, 0.95))  # fmt: skip
    if rng.random() < 0.3:
        board = drum(0, height - 0.04, 0, depth * 1.25, 0.04, color, "wood", seed=_seed(rng))
        foot = [drum(0, 0, 0, 0.09, height - 0.04, color), drum(0, 0, 0, depth * 0.6, 0.03, color)]
        return Piece((board, *foot, *_clutter(rng, depth * 0.8, depth * 0.8, height)))
    board = box(0, height - 0.04, 0, width, 0.04, depth, color, "wood", seed=_seed(rng))
    legs = _legs(width, depth, height - 0.04, rng.uniform(0.05, 0.08), color)
    return Piece((board, *legs, *_clutter(rng, width, depth, height)))


def chair(rng: np.random.Generator) -> Piece:
    """Build a chair with four legs."""
    wood, cover, top = pick_color(rng, WOODS), pick_color(rng, FABRICS + WOODS), rng.uniform(0.82, 1.0)
    seat = box(0, 0.41, 0, 0.44, 0.05, 0.44, cover, "fabric", seed=_seed(rng))
    back = box(0, 0.58, 0.2, 0.42, top - 0.58, 0.04, cover, "fabric", seed=_seed(rng))
    posts = [box(i * 0.19, 0.46, 0.2, 0.035, top - 0.48, 0.035, wood) for i in (-1, 1)]
    return Piece((seat, back, *posts, *_legs(0.44, 0.44, 0.41, 0.04, wood)))


def sofa(rng: np.random.Generator) -> Piece:
    """Build a sofa or an armchair."""
    width, color = rng.choice((0.9, 1.5, 2.0)) * rng.uniform(0.95, 1.1), pick_color(rng, FABRICS)
    seed, arm, top = _seed(rng), rng.uniform(0.14, 0.24), rng.uniform(0.74, 0.92)
    parts = [
        box(0, 0.06, 0, width, 0.30, 0.85, color, "fabric", seed=seed),
        box(0, 0.36, 0.31, width, top - 0.36, 0.22, color, "fabric", seed=seed),
        *(box(i * (width - arm) / 2, 0.06, 0, arm, 0.52, 0.85, color, "fabric", seed=seed) for i in (-1, 1)),
    ]
    seats = max(round((width - 2 * arm) / 0.65), 1)
    size, pillow = (width - 2 * arm) / seats, pick_color(rng, FABRICS)
    for i in range(seats):
        x = (i - (seats - 1) / 2) * size
        parts.append(box(x, 0.36, -0.1, size - 0.02, 0.12, 0.64, color, "fabric", seed=seed + i))
        if rng.random() < 0.5:
            parts.append(ball(x, 0.46, 0.15, 0.42, 0.36, 0.16, pillow, "fabric", seed=seed))
    return Piece(tuple(parts))


def bed(rng: np.random.Generator) -> Piece:
    """Build a bed with its head at the wall."""
    width, wood = rng.choice((0.95, 1.5)) * rng.uniform(0.95, 1.15), pick_color(rng, WOODS)
    cover = pick_color(rng, FABRICS)
    pillows = [
        ball(i * width / 4 if width > 1.3 else 0.0, 0.5, 0.74, 0.6, 0.16, 0.38, WHITE, "fabric")
        for i in ((-1, 1) if width > 1.3 else (0,))
    ]
    return Piece((
        box(0, 0.05, 0, width, 0.25, 2.0, wood, "wood", seed=_seed(rng)),
        box(0, 0.30, 0, width - 0.04, 0.22, 1.96, WHITE, "fabric"),
        box(0, 0.32, -0.3, width + 0.02, 0.24, 1.4, cover, rng.choice(("fabric", "stripes")), seed=_seed(rng)),
        box(0, 0, 1.0, width, rng.uniform(0.8, 1.2), 0.06, wood, "wood", seed=_seed(rng)),
        *pillows,
    ))  # fmt: skip


def shelf(rng: np.random.Generator) -> Piece:
    """Build an open shelf with books."""
    width, height, depth = rng.uniform(0.6, 1.2), rng.uniform(1.0, 2.1), rng.uniform(0.26, 0.36)
    color, levels = pick_color(rng, WOODS), int(np.ceil(height / 0.4))
    pitch, parts = (height - 0.03) / levels, [box(0, 0, depth / 2 - 0.01, width, height, 0.02, color, "wood")]
    parts += [box(i * (width / 2 - 0.012), 0, 0, 0.024, height, depth, color, "wood") for i in (-1, 1)]
    for level in range(levels + 1):
        parts.append(box(0, level * pitch, 0, width - 0.04, 0.024, depth, color, "wood"))
        if level < levels and rng.random() < 0.85:
            wide, tall = rng.uniform(0.4, 0.95) * (width - 0.06), rng.uniform(0.55, 0.85) * pitch
            x = rng.uniform(-0.5, 0.5) * (width - 0.06 - wide)
            y, deep = level * pitch + 0.024, depth * 0.7
            parts.append(box(x, y, 0.03, wide, tall, deep, (1, 1, 1), "books", kind="thing", seed=_seed(rng)))
    return Piece(tuple(parts))


def cabinet(rng: np.random.Generator) -> Piece:
    """Build a chest of drawers, perhaps with a television on it."""
    width, height, depth = rng.uniform(0.6, 1.6), rng.uniform(0.5, 1.05), rng.uniform(0.38, 0.5)
    color = pick_color(rng, WOODS + PAINTS)
    parts = [box(0, 0.04, 0, width, height - 0.04, depth, color, "drawers", seed=_seed(rng))]
    if height < 0.75 and width > 0.9 and rng.random() < 0.7:
        wide = rng.uniform(0.6, 0.95) * width
        parts.append(box(0, height, 0, 0.3, 0.05, 0.2, BLACK))
        parts.append(box(0, height + 0.05, 0, wide, wide * 0.57, 0.05, BLACK, "screen", kind="thing", seed=_seed(rng)))
        return Piece(tuple(parts))
    return Piece((*parts, *_clutter(rng, width, depth, height)))


def cupboard(rng: np.random.Generator) -> Piece:
    """Build a wardrobe or a refrigerator."""
    width, height, color = rng.uniform(0.6, 1.4), rng.uniform(1.7, 2.15), pick_color(rng, (*WOODS, WHITE, STEEL))
    return Piece((box(0, 0.03, 0, width, height, rng.uniform(0.5, 0.65), color, "doors", seed=_seed(rng)),))


def counter(rng: np.random.Generator) -> Piece:
    """Build a kitchen counter with cupboards above."""
    width, color, top = rng.uniform(1.4, 2.6), pick_color(rng, (*WOODS, *PAINTS)), pick_color(rng, (*WOODS, STEEL))
    return Piece((
        box(0, 0.08, 0.02, width, 0.79, 0.58, color, "doors", seed=_seed(rng)),
        box(0, 0.87, 0, width, 0.04, 0.62, top, "wood", seed=_seed(rng)),
        box(0, 1.45, 0.14, width, 0.62, 0.34, color, "doors", seed=_seed(rng)),
        *_clutter(rng, width, 0.5, 0.91),
    ))  # fmt: skip


def desk(rng: np.random.Generator) -> Piece:
    """Build a desk with a screen on it."""
    width, color = rng.uniform(1.0, 1.6), pick_color(rng, WOODS)
    x, wide = rng.uniform(-0.2, 0.2), rng.uniform(0.45, 0.65)
    return Piece((
        box(0, 0.70, 0, width, 0.035, 0.7, color, "wood", seed=_seed(rng)),
        *(box(i * (width / 2 - 0.02), 0, 0, 0.035, 0.70, 0.66, color, "wood") for i in (-1, 1)),
        box(x, 0.735, 0.12, 0.2, 0.10, 0.14, BLACK),
        box(x, 0.82, 0.12, wide, wide * 0.6, 0.04, BLACK, "screen", kind="thing", seed=_seed(rng)),
        box(x, 0.735, -0.15, 0.42, 0.02, 0.14, pick_color(rng, (BLACK, WHITE)), kind="thing"),
    ))  # fmt: skip


def lamp(rng: np.random.Generator) -> Piece:
    """Build a standard lamp, lit."""
    height, wide = rng.uniform(1.4, 1.75), rng.uniform(0.3, 0.45)
    shade = drum(0, height - 0.3, 0, wide, 0.3, SHINE, "fabric", kind="lamp", glow=True)
    return Piece((shade, drum(0, 0, 0, 0.3, 0.03, BLACK), drum(0, 0, 0, 0.04, height - 0.25, BLACK)))


def plant(rng: np.random.Generator) -> Piece:
    """Build a plant in a pot."""
    height, green, parts = rng.uniform(0.6, 1.6), pick_color(rng, ((0.18, 0.34, 0.14), (0.30, 0.42, 0.18))), []
    for _ in range(12):
        angle, size, up = rng.uniform(0, 2 * np.pi), rng.uniform(0.14, 0.28) * height**0.5, rng.uniform(0.35, 0.85)
        x, z = 0.2 * height * np.cos(angle), 0.2 * height * np.sin(angle)
        shape, color = (size, size * rng.uniform(0.4, 1.2), size), pick_color(rng, (green,))
        parts.append(ball(float(x), up * height, float(z), *shape, color, "leaves", kind="thing", seed=_seed(rng)))
    pot = drum(0, 0, 0, 0.32, 0.3, pick_color(rng, FABRICS + PAINTS), kind="thing")
    return Piece((pot, drum(0, 0.2, 0, 0.05, height * 0.6, green, kind="thing"), *parts))


def odds(rng: np.random.Generator) -> Piece:
    """Build a cardboard box, a pouf, a bin or a ball on the floor."""
    color, size = pick_color(rng, FABRICS), rng.uniform(0.3, 0.5)
    return Piece((
        (
            box(0, 0, 0, size, size * 0.7, size * 0.8, (0.62, 0.47, 0.31), "carton", kind="thing", seed=_seed(rng)),
            drum(0, 0, 0, size + 0.1, size, color, "fabric", kind="thing", seed=_seed(rng)),
            drum(0, 0, 0, 0.28, 0.4, STEEL, kind="thing"),
            ball(0, 0, 0, 0.3, 0.3, 0.3, color, "stripes", kind="thing"),
        )[int(rng.integers(4))],
    ))  # fmt: skip


AT_WALLS: tuple[Callable[[np.random.Generator], Piece], ...] = (
    sofa, bed, shelf, shelf, cabinet, cabinet, cupboard, counter, desk, lamp, plant, chair,
)  # fmt: skip
LOOSE: tuple[Callable[[np.random.Generator], Piece], ...] = (table, table, chair, chair, odds, odds, sofa, plant)
