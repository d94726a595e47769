"""What a street consists of, and the simple outlines that its pictures are composed of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.scenes.canvas import Color

FRONT = (0.0, 0.0, -1.0)  # normal of a card
GLASS: Color = (0.10, 0.13, 0.17)
RUBBER: Color = (0.05, 0.05, 0.06)
METAL: Color = (0.42, 0.43, 0.44)
LAMPLIGHT: Color = (1.0, 0.86, 0.55)


@dataclass(frozen=True)
class Thing:
    """One object: where it stands (metres right of and ahead of the camera), how large it is, and its looks."""

    kind: str  # a key of objects.PAINTERS
    x: float
    z: float
    width: float
    height: float
    length: float = 0.0  # along the street; 0 for flat things
    color: Color = (0.5, 0.5, 0.5)
    seed: int = 0  # its texture and, modulo small numbers, its variants
    shadow: float = 0.0  # share of the sun blocked by buildings


def box(s: np.ndarray, t: np.ndarray, left: float, right: float, bottom: float, top: float) -> np.ndarray:
    """Mask of an upright rectangle."""
    return (s >= left) & (s < right) & (t >= bottom) & (t < top)


def disc(s: np.ndarray, t: np.ndarray, x: float, y: float, rx: float, ry: float | None = None) -> np.ndarray:
    """Mask of an ellipse, or of a circle if one radius is given."""
    return ((s - x) / rx) ** 2 + ((t - y) / (ry or rx)) ** 2 <= 1.0


def bar(s: np.ndarray, t: np.ndarray, start: tuple[float, float], end: tuple[float, float], width: float) -> np.ndarray:
    """Mask of a straight bar with round ends."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = np.clip(((s - start[0]) * dx + (t - start[1]) * dy) / max(dx * dx + dy * dy, 1e-9), 0.0, 1.0)
    return (s - start[0] - along * dx) ** 2 + (t - start[1] - along * dy) ** 2 <= (width / 2) ** 2
