"""Patterns on the surfaces of a room, fixed to the surfaces and of real size, so that they tell distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data_prep.scenes.canvas import cell_value, noise


@dataclass(frozen=True)
class Spot:
    """A rectangle of the picture on a surface; a look turns it into factors (h, w) or (h, w, 3) for the colour."""

    s: np.ndarray  # (h, w) metres from the surface's middle
    t: np.ndarray  # (h, w) metres from its bottom
    front: np.ndarray  # (h, w) bool: on the side that carries doors, drawers, pictures
    width: float  # metres
    height: float
    seed: int

    def noise(self, period: float, stretch: float = 1.0) -> np.ndarray:
        """Noise in 0..1 with blobs of ``period`` metres, ``stretch`` times as long along t."""
        return noise(self.s, self.t / np.float32(stretch), period, self.seed)


def _part(value: np.ndarray) -> np.ndarray:
    return value - np.floor(value)


def _pick(spot: Spot, *choices: float) -> float:
    return choices[spot.seed % len(choices)]


def _frame(spot: Spot, margin: float) -> np.ndarray:
    """Mask of what lies within ``margin`` metres of the surface's edge."""
    inside = (np.abs(spot.s) < spot.width / 2 - margin) & (spot.t > margin) & (spot.t < spot.height - margin)
    return ~inside


def plain(spot: Spot) -> np.ndarray:
    """Paint, a little uneven."""
    return 0.94 + 0.10 * spot.noise(0.7)


def wood(spot: Spot) -> np.ndarray:
    """Grain along the length."""
    return 0.75 + 0.4 * noise(spot.s, spot.t * 7, 0.35, spot.seed)


def fabric(spot: Spot) -> np.ndarray:
    """Woven cloth with folds."""
    return 0.80 + 0.22 * spot.noise(0.05) + 0.14 * spot.noise(0.4)


def leaves(spot: Spot) -> np.ndarray:
    """Foliage."""
    return 0.45 + 0.95 * spot.noise(0.07)


def planks(spot: Spot) -> np.ndarray:
    """Shade a floor of boards."""
    wide = _pick(spot, 0.09, 0.13, 0.18)
    row = np.floor(spot.s / wide)
    along = spot.t / 1.3 + 0.37 * row
    tone = 0.78 + 0.3 * cell_value(row, np.floor(along), spot.seed)
    gap = (_part(spot.s / wide) < 0.07) | (_part(along) < 0.012)
    return tone * np.where(gap, 0.6, 1.0) * (0.88 + 0.2 * noise(spot.s * 8, spot.t, 0.3, spot.seed))


def tiles(spot: Spot) -> np.ndarray:
    """Shade a floor or wall of square tiles, in one colour or like a chessboard."""
    wide = _pick(spot, 0.2, 0.3, 0.45)
    i, j = np.floor(spot.s / wide), np.floor(spot.t / wide)
    tone = 0.88 + 0.12 * cell_value(i, j, spot.seed)
    if spot.seed % 2:
        tone = tone * np.where((i + j) % 2 == 0, 1.0, 0.62)
    joint = (_part(spot.s / wide) < 0.04) | (_part(spot.t / wide) < 0.04)
    return np.where(joint, 0.62, tone * (0.94 + 0.1 * spot.noise(0.25)))


def carpet(spot: Spot) -> np.ndarray:
    """Pile, worn in places."""
    return 0.72 + 0.26 * spot.noise(0.04) + 0.2 * spot.noise(0.8)


def rug(spot: Spot) -> np.ndarray:
    """Shade a rug with a border and a pattern."""
    pattern = 0.8 + 0.35 * np.sign(np.sin(spot.s * 14) * np.sin(spot.t * 14))
    return np.where(_frame(spot, 0.12), 0.5, pattern) * (0.85 + 0.25 * spot.noise(0.05))


def stripes(spot: Spot) -> np.ndarray:
    """Upright stripes, of wallpaper or cloth."""
    wide = _pick(spot, 0.08, 0.14, 0.25)
    return np.where(_part(spot.s / wide) < 0.5, 1.0, 0.82) * plain(spot)


def flowers(spot: Spot) -> np.ndarray:
    """Wallpaper with a repeated motif."""
    wide = _pick(spot, 0.16, 0.24)
    shifted = spot.t / wide + 0.5 * (np.floor(spot.s / wide) % 2)
    dot = np.hypot(_part(spot.s / wide) - 0.5, _part(shifted) - 0.5)
    return np.where(dot < 0.2, 0.74, np.where(dot < 0.28, 1.1, 1.0)) * plain(spot)


def bricks(spot: Spot) -> np.ndarray:
    """Bare masonry."""
    row = np.floor(spot.t / 0.085)
    along = spot.s / 0.26 + 0.5 * (row % 2)
    tone = 0.7 + 0.35 * cell_value(np.floor(along), row, spot.seed)
    joint = (_part(along) < 0.05) | (_part(spot.t / 0.085) < 0.13)
    return np.where(joint, 1.15, tone) * (0.9 + 0.15 * spot.noise(0.1))


def drawers(spot: Spot) -> np.ndarray:
    """Fronts one above the other, with knobs."""
    rows, columns = max(round(spot.height / 0.24), 1), max(round(spot.width / 0.8), 1)
    u, v = _part((spot.s / spot.width + 0.5) * columns), _part(spot.t / spot.height * rows)
    gap = (np.abs(u - 0.5) > 0.485) | (np.abs(v - 0.5) > 0.455)
    knob = np.hypot((u - 0.5) * spot.width / columns, (v - 0.5) * spot.height / rows) < 0.022
    return np.where(spot.front & (gap | knob), 0.42, 1.0) * (0.85 + 0.2 * noise(spot.s, spot.t * 5, 0.5, spot.seed))


def doors(spot: Spot) -> np.ndarray:
    """Fronts side by side, with handles."""
    columns = max(round(spot.width / 0.5), 1)
    u, v = _part((spot.s / spot.width + 0.5) * columns), spot.t / spot.height
    gap = (np.abs(u - 0.5) > 0.48) | (np.abs(v - 0.5) > 0.485)
    handle = (np.abs(u - 0.9) < 0.03) & (np.abs(v - 0.5) < 0.09)
    return np.where(spot.front & (gap | handle), 0.42, 1.0) * (0.86 + 0.2 * noise(spot.s * 5, spot.t, 0.5, spot.seed))


def door(spot: Spot) -> np.ndarray:
    """Shade a door in its frame, with two panels and a handle."""
    u, v = spot.s / spot.width, spot.t / spot.height
    panel = (np.abs(u) < 0.3) & (((v > 0.08) & (v < 0.45)) | ((v > 0.53) & (v < 0.92)))
    edge = (np.abs(u) < 0.33) & (((v > 0.065) & (v < 0.465)) | ((v > 0.515) & (v < 0.935))) & ~panel
    handle = (np.abs(u - 0.36) < 0.06) & (np.abs(v - 0.5) < 0.012)
    crack = np.abs(np.abs(u) - 0.44) < 0.01
    return np.where(handle | crack, 0.3, np.where(edge, 0.7, np.where(panel, 0.93, 1.0))) * plain(spot)


def books(spot: Spot) -> np.ndarray:
    """Spines in many colours and of different heights."""
    wide = _pick(spot, 0.028, 0.038, 0.05)
    i = np.floor(spot.s / wide)
    hue = np.stack([cell_value(i, np.full_like(i, k), spot.seed) for k in range(3)], axis=-1)
    lower = spot.t > spot.height * (0.8 + 0.2 * cell_value(i, np.full_like(i, 7), spot.seed))
    dark = np.where(lower | (_part(spot.s / wide) < 0.12), 0.25, 1.0)
    return (0.12 + 0.65 * hue) * dark[..., None]


def picture(spot: Spot) -> np.ndarray:
    """Shade a framed picture or a poster: areas of a few colours."""
    area = np.floor(spot.noise(0.35) * 4) + 4 * np.floor(spot.t / spot.height * 2.5 + 0.6 * spot.noise(0.8))
    hue = np.stack([cell_value(area, np.full_like(area, k), spot.seed) for k in range(3)], axis=-1)
    edge, mount = _frame(spot, 0.025), _frame(spot, _pick(spot, 0.03, 0.08))
    inner = np.where(mount[..., None], np.float32(0.85), 0.3 + 0.2 * hue + 0.35 * hue[..., :1])
    return np.where(edge[..., None], np.float32(_pick(spot, 0.12, 0.5, 0.85)), inner)


def screen(spot: Spot) -> np.ndarray:
    """Shade a television or monitor: dark, or showing something bright."""
    inside = spot.front & ~_frame(spot, 0.02)
    return np.where(inside, (6.0 if spot.seed % 2 else 1.2) * (0.6 + 0.6 * spot.noise(0.2)), 1.0)


def window(spot: Spot) -> np.ndarray:
    """Frame and bars, and behind the panes the sky over trees or houses."""
    columns = max(round(spot.width / 0.7), 1)
    u, v = _part((spot.s / spot.width + 0.5) * columns) - 0.5, spot.t / spot.height
    bar = (np.abs(u) > 0.5 - 0.05) | (np.abs(v - 0.5) > 0.465) | (np.abs(v - 0.68) < 0.018)
    skyline = 0.25 + 0.35 * noise(spot.s, np.zeros_like(spot.t), 0.9, spot.seed)
    sky = np.array((1.5, 1.7, 2.0), np.float32) * (1.0 + 0.15 * v[..., None])
    green = np.array((0.5, 0.65, 0.45), np.float32) * (0.6 + 0.8 * spot.noise(0.12))[..., None]
    view = np.where((v < skyline)[..., None], green, sky)
    return np.where(bar[..., None], np.float32(0.62), view)


def curtain(spot: Spot) -> np.ndarray:
    """Folds."""
    return 0.8 + 0.22 * np.sin(spot.s * 55 + 3 * spot.noise(0.4)) * (0.6 + 0.4 * spot.noise(0.2, 4.0))


def carton(spot: Spot) -> np.ndarray:
    """Cardboard closed with tape."""
    return np.where(np.abs(spot.s) < 0.025, 1.3, 1.0) * (0.88 + 0.2 * spot.noise(0.2))


LOOKS: dict[str, Callable[[Spot], np.ndarray]] = {
    look.__name__: look
    for look in (
        plain, wood, fabric, leaves, planks, tiles, carpet, rug, stripes, flowers, bricks, drawers, doors, door, books,
        picture, screen, window, curtain, carton,
    )
}  # fmt: skip
