"""A picture under construction: colour, class and depth, with a depth test, for planes in front of a pinhole camera.

World axes in metres: x to the right, t up from the ground, z ahead. The camera looks along z, so depth is z.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

Color = tuple[float, float, float]  # red, green, blue in 0..1

CLASSES = (
    "other", "sky", "building", "road", "pavement", "grass", "tree", "car", "bus", "person", "rider", "bicycle",
    "pole", "sign", "traffic light", "fence", "ego vehicle",
)  # fmt: skip
CLASS_INDEX = {name: index for index, name in enumerate(CLASSES)}


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with square pixels, level with the ground. All but ``elevation`` in pixels."""

    width: int
    height: int
    focal: float
    center_x: float  # column of the vanishing point; pixel j spans [j, j+1)
    horizon: float  # row of the horizon
    elevation: float  # metres above the ground

    def doubled(self) -> Camera:
        """Double the view's grid: its pixels (2i+1, 2j+1) have the centres of this one's (i, j)."""
        return Camera(
            self.width * 2 + 1,
            self.height * 2 + 1,
            self.focal * 2,
            self.center_x * 2 + 0.5,
            self.horizon * 2 + 0.5,
            self.elevation,
        )


@dataclass(frozen=True)
class Light:
    """Sun and sky. ``sun`` points towards the sun (x, up, z), unit length; the colours multiply a surface's own."""

    sun: tuple[float, float, float]
    sun_color: Color
    ambient: Color
    sky_top: Color
    sky_horizon: Color
    clouds: float  # covered share of the sky
    haze: float  # metres after which 63 % of the light is the horizon's
    dark: bool  # lamps, headlights and windows are lit

    def shade(self, normal: tuple[float, float, float], shadow: float = 0.0) -> Color:
        """Factor for a surface with this normal; ``shadow`` is the share of the sun that is blocked."""
        direct = max(0.0, sum(n * s for n, s in zip(normal, self.sun, strict=True))) * (1.0 - shadow)
        red, green, blue = (a + direct * c for a, c in zip(self.ambient, self.sun_color, strict=True))
        return red, green, blue


class Canvas:
    """Colour (H, W, 3) float32, class index (H, W) uint8 and depth (H, W) float32 metres, infinite for the sky."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        size = (camera.height, camera.width)
        self.rgb = np.zeros((*size, 3), np.float32)
        self.classes = np.zeros(size, np.uint8)
        self.depth = np.full(size, np.inf, np.float32)
        self.columns = np.arange(camera.width, dtype=np.float32) + 0.5 - camera.center_x
        self.rows = np.arange(camera.height, dtype=np.float32) + 0.5 - camera.horizon

    def card(self, x: float, z: float, width: float, height: float, shade: Color) -> Patch | None:
        """Return the part of the picture that an upright rectangle facing the camera covers; None if nothing is seen.

        The patch's ``s`` runs from -width/2 to width/2, its ``t`` from 0 to height.
        """
        camera, scale = self.camera, self.camera.focal / z
        left, right = camera.center_x + (x - width / 2) * scale, camera.center_x + (x + width / 2) * scale
        bottom, top = camera.horizon + camera.elevation * scale, camera.horizon + (camera.elevation - height) * scale
        rows, cols = _span(top, bottom, camera.height), _span(left, right, camera.width)
        if rows is None or cols is None or self._hides(rows, cols, z):
            return None
        s = (self.columns[cols] / scale - x)[None, :]
        t = (camera.elevation - self.rows[rows] / scale)[:, None]
        return Patch(self, rows, cols, s, t, np.float32(z), shade)

    def wall(self, x: float, near: float, far: float, height: float, shade: Color) -> Patch | None:
        """Return the part of the picture that an upright rectangle along the street covers; None if nothing is seen.

        The patch's ``s`` runs from 0 at ``near`` to far - near, its ``t`` from 0 to height.
        """
        camera = self.camera
        near = max(near, 0.3)
        left, right = sorted((camera.center_x + camera.focal * x / near, camera.center_x + camera.focal * x / far))
        cols = _span(left, right, camera.width)
        scale = camera.focal / near
        top = camera.horizon + (camera.elevation - height) * (
            scale if height > camera.elevation else camera.focal / far
        )
        rows = _span(top, camera.horizon + camera.elevation * scale, camera.height)
        if rows is None or cols is None or far <= near or x == 0 or self._hides(rows, cols, near):
            return None
        columns = self.columns[cols]
        depth = camera.focal * x / np.where(columns * x > 0, columns, np.sign(x) * np.float32(1e-3))
        t = camera.elevation - self.rows[rows][:, None] * depth[None, :] / camera.focal
        return Patch(self, rows, cols, (depth - near)[None, :], t, depth[None, :].astype(np.float32), shade)

    def _hides(self, rows: slice, cols: slice, depth: float) -> bool:
        """Whether everything there is nearer than ``depth``."""
        return bool(self.depth[rows, cols].max() < depth)


@dataclass
class Patch:
    """A rectangle of the canvas seen as part of a plane: surface coordinates (s, t) in metres and depth per pixel."""

    canvas: Canvas
    rows: slice
    cols: slice
    s: np.ndarray  # (1, w)
    t: np.ndarray  # (h, 1) or (h, w)
    depth: np.ndarray | np.float32
    shade: Color

    @property
    def pixel(self) -> float:
        """Metres that a pixel covers where the patch is nearest."""
        return float(np.min(self.depth)) / self.canvas.camera.focal

    def fill(
        self, mask: np.ndarray, color: Color, name: str, tone: np.ndarray | float = 1.0, glow: bool = False
    ) -> None:
        """Paint where ``mask`` holds and nothing nearer is; ``tone`` multiplies the colour, ``glow`` ignores shade."""
        place = (self.rows, self.cols)
        behind = self.canvas.depth[place]
        visible = mask & (self.depth <= behind)
        base = np.array([c if glow else c * f for c, f in zip(color, self.shade, strict=True)], np.float32)
        if isinstance(tone, np.ndarray):
            tone = tone if tone.shape == visible.shape else np.broadcast_to(tone, visible.shape)
            base = tone[visible][:, None] * base
        else:
            base *= tone
        self.canvas.rgb[place][visible] = base
        self.canvas.classes[place][visible] = CLASS_INDEX[name]
        np.copyto(behind, self.depth, where=visible)


def _span(start: float, stop: float, limit: int) -> slice | None:
    """Pixels whose centres lie between two positions, within the picture."""
    first, last = max(int(np.ceil(start - 0.5)), 0), min(int(np.ceil(stop - 0.5)), limit)
    return slice(first, last) if first < last else None


def _tile(size: int = 256) -> np.ndarray:
    """Smooth noise (size, size) in 0..1 that continues over its edges; always the same."""
    rng, total = np.random.default_rng(2023), np.zeros((size, size), np.float32)
    for octave, weight in ((8, 4.0), (4, 2.0), (2, 1.0), (1, 0.7)):
        coarse = rng.random((size // octave, size // octave), dtype=np.float32)
        step = (np.arange(size, dtype=np.float32) / octave) % (size // octave)
        low, part = step.astype(int), step % 1
        high = (low + 1) % (size // octave)
        lines = coarse[low] * (1 - part)[:, None] + coarse[high] * part[:, None]
        total += weight * (lines[:, low] * (1 - part) + lines[:, high] * part)
    order = total.ravel().argsort().argsort()  # ranks: every value equally likely
    return (order.reshape(size, size) / np.float32(size * size)).astype(np.float32)


_NOISE = np.pad(_tile(), ((0, 1), (0, 1)), mode="wrap")


def noise(s: np.ndarray, t: np.ndarray, period: float, seed: int) -> np.ndarray:
    """Noise in 0..1 fixed to surface coordinates; its blobs are roughly ``period`` metres wide."""
    scale = 6.0 / period  # a period is 6 pixels of the tile
    across, upward = np.empty((2, t.shape[0], s.shape[1]), np.float32)
    across[:], upward[:] = (s * scale + seed * 37 % 251) % 256, (t * scale + seed * 91 % 241) % 256
    return cv2.remap(_NOISE, across, upward, cv2.INTER_LINEAR)


def cell_value(i: np.ndarray, j: np.ndarray, seed: int) -> np.ndarray:
    """One value in 0..1 for each integer cell (i, j), for example a window of a facade."""
    i, j = i.astype(np.int32).view(np.uint32), j.astype(np.int32).view(np.uint32)
    mixed = i * np.uint32(73856093) ^ j * np.uint32(19349663) ^ np.uint32(seed * 83492791 & 0xFFFFFFFF)
    mixed = (mixed ^ (mixed >> np.uint32(13))) * np.uint32(1274126177)
    return ((mixed >> np.uint32(12)) & np.uint32(0xFFFF)).astype(np.float32) / np.float32(65536)
