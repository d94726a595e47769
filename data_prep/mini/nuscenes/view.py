"""What cameras and LiDAR see of a synthetic town: its ground, drawn from the map, and the boxes on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import shapely
from shapely import LineString
from shapely.ops import substring

from data_prep.mini.nuscenes.town import Box, Town

_TEXEL = 0.2  # metres
_MARGIN = 40.0  # metres of grass around the town
_LEVELS = 5  # of the texture, each half as fine as the one before
LIDAR_RANGE = 70.0  # metres
_HAZE = 220.0  # metres after which two thirds of the light is the horizon's
_BEAMS = np.deg2rad(np.linspace(-30.67, 10.67, 32))
_TURN = 400  # LiDAR directions of a turn

# red, green, blue in 0..1, and the share of laser light sent back, in 0..255
_GRASS = ((0.25, 0.42, 0.17), 28)
_SURFACES = {  # in the order of drawing
    "walkway": ((0.66, 0.58, 0.48), 45),
    "carpark_area": ((0.36, 0.40, 0.58), 18),
    "drivable_area": ((0.27, 0.27, 0.29), 9),
    "stop_line": ((0.74, 0.30, 0.24), 65),
    "ped_crossing": ((0.27, 0.27, 0.29), 9),
}
_PAINT = {"road_divider": ((0.9, 0.72, 0.2), 85), "lane_divider": ((0.92, 0.92, 0.92), 95)}
_ZEBRA = ((0.95, 0.95, 0.95), 100)
_BACK = {"building": 55, "car": 70}


@dataclass(frozen=True)
class Light:
    """Of one scene: the colour that multiplies everything, and that of the sky."""

    color: np.ndarray
    sky: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Light:
        """Draw the colours of the sun and of the sky."""
        tint = rng.uniform(0.94, 1.06, 3)
        return cls(rng.uniform(0.65, 1.1) * tint, np.array([0.62, 0.74, 0.9]) * rng.uniform(0.75, 1.05))


class Ground:
    """A town's ground as a picture: colours at several finenesses, and what a laser gets back.

    Args:
        town: its geometries are drawn in the map's order of importance: paint above everything.
    """

    def __init__(self, town: Town, rng: np.random.Generator) -> None:
        size = tuple(int((e + 2 * _MARGIN) / _TEXEL) for e in town.extent)
        self._canvas = np.empty((size[1], size[0], 4), np.uint8)  # rows along y; the fourth is the intensity
        self._canvas[:] = _color(*_GRASS)
        for name, surface in _SURFACES.items():
            for area in town.areas[name]:
                self._fill(area, _color(*surface))
        for crossing in town.areas["ped_crossing"]:
            self._add_stripes(crossing)
        for line in town.lines["road_divider"]:
            self._paint(line, "road_divider")
        for line in town.lines["lane_divider"]:
            for start in np.arange(0, line.length - 2, 5.0):  # dashes
                self._paint(cast(LineString, substring(line, start, start + 3.0)), "lane_divider")
        grain = cv2.resize(rng.normal(0, 1, (size[1] // 8, size[0] // 8)).astype(np.float32), size)
        tone = 1 + 0.05 * grain + 0.03 * rng.standard_normal(size[::-1], dtype=np.float32)
        colors = np.minimum(self._canvas[..., :3] * (tone / 255)[..., None], 1)
        self.intensity = self._canvas[..., 3]
        self.colors = [colors]
        while len(self.colors) < _LEVELS:
            height, width = self.colors[-1].shape[:2]
            self.colors.append(cv2.resize(self.colors[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))

    def color_at(self, x: np.ndarray, y: np.ndarray, pixel: np.ndarray) -> np.ndarray:
        """Colours (N, 3) at places in the town's frame; ``pixel`` is the metres that a camera's pixel covers there."""
        level = np.clip(np.log2(np.maximum(pixel / _TEXEL, 1e-6)), 0, _LEVELS - 1)
        result = np.empty((len(x), 3), np.float32)
        for i, colors in enumerate(self.colors):
            chosen = np.round(level) == i
            if chosen.any():
                scale = _TEXEL * 2**i
                result[chosen] = _lookup(colors, *((v[chosen] + _MARGIN) / scale - 0.5 for v in (x, y)))
        return result

    def intensity_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return what a laser gets back from places in the town's frame, uint8."""
        height, width = self.intensity.shape
        column = np.clip(((x + _MARGIN) / _TEXEL).astype(int), 0, width - 1)
        row = np.clip(((y + _MARGIN) / _TEXEL).astype(int), 0, height - 1)
        return self.intensity[row, column]

    def _fill(self, area: shapely.Polygon, color: tuple[int, ...]) -> None:
        """With its holes left as they are."""
        rings = [_texels(ring) for ring in (area.exterior, *area.interiors)]
        cv2.fillPoly(self._canvas, rings, color, shift=4)  # even-odd: holes stay

    def _add_stripes(self, crossing: shapely.Polygon) -> None:
        low_x, low_y, high_x, high_y = crossing.bounds
        across_x = high_x - low_x > high_y - low_y  # the road runs along y, and so do the stripes
        start, stop = (low_x, high_x) if across_x else (low_y, high_y)
        for place in np.arange(start + 0.3, stop - 0.3, 1.2):
            ends = (place, low_y, place + 0.6, high_y) if across_x else (low_x, place, high_x, place + 0.6)
            self._fill(shapely.box(*ends), _color(*_ZEBRA))

    def _paint(self, line: shapely.LineString, kind: str) -> None:
        self._fill(line.buffer(0.15, cap_style="flat"), _color(*_PAINT[kind]))


def render(
    town: Town, ground: Ground, light: Light, camera: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """One picture, uint8 (H, W, 3).

    Args:
        camera: (4, 4), from the camera's frame to the town's.
        intrinsics: (3, 3); the centre of pixel (i, j) is at (j + 0.5, i + 0.5).
        size: (height, width).
    """
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    flat = np.stack([columns + 0.5, rows + 0.5, np.ones(size)], -1) @ np.linalg.inv(intrinsics).T  # depth 1
    rays, origin = (flat @ camera[:3, :3].T).astype(np.float32), camera[:3, 3]
    with np.errstate(divide="ignore"):
        depth = np.where(rays[..., 2] < -1e-3, -float(origin[2]) / rays[..., 2], np.float32(np.inf))
    sky = light.sky * (1 - 0.35 * np.clip(rays[..., 2:], 0, 1))
    seen = np.isfinite(depth)
    place = origin[:2] + rays[seen][:, :2] * depth[seen][:, None]
    picture = np.broadcast_to(sky, (*size, 3)).astype(np.float32)
    x, y = place.T.astype(np.float32)
    picture[seen] = ground.color_at(x, y, 2 * depth[seen] / intrinsics[0, 0]) * light.color
    for thing in town.boxes:
        window = _window(thing, camera, intrinsics, size)
        if window is not None:
            found, normal = intersect(thing, origin, rays[window])
            nearer = found < depth[window]
            at = origin + rays[window][nearer] * found[nearer][:, None]
            picture[window][nearer] = _box_color(thing, at, normal[nearer]) * light.color
            depth[window][nearer] = found[nearer]
    haze = 1 - np.exp(-np.where(np.isfinite(depth), depth, 0) / _HAZE)[..., None]
    return np.clip((picture * (1 - haze) + light.sky * haze) * 255, 0, 255).astype(np.uint8)


def scan(town: Town, ground: Ground, lidar: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One turn of the LiDAR, float32 (P, 5): x, y, z in its own frame (metres), intensity 0..255, ring.

    Args:
        lidar: (4, 4), from the LiDAR's frame to the town's.
    """
    azimuth = np.linspace(0, 2 * np.pi, _TURN, endpoint=False) + rng.uniform(0, 2 * np.pi / _TURN)
    elevation, azimuth = (v.ravel() for v in np.meshgrid(_BEAMS, azimuth, indexing="ij"))
    rays = np.stack([np.cos(elevation) * np.sin(azimuth), np.cos(elevation) * np.cos(azimuth), np.sin(elevation)], 1)
    directions, origin = rays @ lidar[:3, :3].T, lidar[:3, 3]
    with np.errstate(divide="ignore"):
        distance = np.where(directions[:, 2] < -1e-3, -origin[2] / directions[:, 2], np.inf)
    known = np.isfinite(distance)
    intensity = np.zeros(len(rays))
    intensity[known] = ground.intensity_at(*(origin[:2] + directions[known][:, :2] * distance[known][:, None]).T)
    for thing in town.boxes:
        if np.hypot(*np.subtract(thing.center, origin[:2])) < LIDAR_RANGE + max(thing.size):
            found, _ = intersect(thing, origin, directions)
            intensity = np.where(found < distance, _BACK[thing.kind], intensity)
            distance = np.minimum(distance, found)
    kept = (distance < LIDAR_RANGE) & (rng.random(len(rays)) > 0.03)
    measured = distance[kept] + rng.normal(0, 0.015, kept.sum())
    noisy = np.clip(intensity[kept] * rng.uniform(0.85, 1.15, kept.sum()), 0, 255)
    ring = np.repeat(np.arange(len(_BEAMS)), _TURN)[kept]
    return np.column_stack([rays[kept] * measured[:, None], np.round(noisy), ring]).astype(np.float32)


def intersect(thing: Box, origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where rays first meet a box.

    Args:
        origin: (3,), outside of the box.
        directions: (..., 3).

    Returns:
        Multiples of the directions (...), infinite where the box is missed; and the axis of the side that is met (0
        length, 1 width, 2 height).
    """
    cosine, sine = np.cos(thing.yaw), np.sin(thing.yaw)
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    start = turn @ (origin - [*thing.center, thing.size[2] / 2])
    along = directions @ turn.T.astype(directions.dtype)
    entry, leave, side = np.array(-np.inf), np.array(np.inf), np.zeros(along.shape[:-1], np.int8)
    for axis in range(3):
        step = along[..., axis]
        step = np.where(np.abs(step) < 1e-6, np.asarray(1e-6, step.dtype), step)
        low, high = (float(sign * thing.size[axis] / 2 - start[axis]) / step for sign in (-1, 1))
        near, far = np.minimum(low, high), np.maximum(low, high)
        side[near > entry] = axis
        entry, leave = np.maximum(entry, near), np.minimum(leave, far)
    return np.where((entry < leave) & (entry > 0), entry, np.inf), side


def _window(thing: Box, camera: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]) -> tuple | None:
    """Return the rows and columns in which a box may be seen."""
    corners = (box_corners(thing) - camera[:3, 3]) @ camera[:3, :3]
    depth = corners[:, 2]
    if depth.max() < 0.5 or depth.min() > 150:
        return None
    if depth.min() < 0.5:  # it reaches behind the camera
        return slice(0, size[0]), slice(0, size[1])
    pixels = (corners @ intrinsics.T)[:, :2] / depth[:, None]
    low, high = np.floor(pixels.min(0)).astype(int), np.ceil(pixels.max(0)).astype(int)
    left, right, top, bottom = max(low[0], 0), min(high[0], size[1]), max(low[1], 0), min(high[1], size[0])
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


def box_corners(thing: Box) -> np.ndarray:
    """(8, 3), in the town's frame."""
    length, width, height = thing.size
    corners = np.array(
        [[x, y, z] for x in (-length / 2, length / 2) for y in (-width / 2, width / 2) for z in (0, height)]
    )
    cosine, sine = np.cos(thing.yaw), np.sin(thing.yaw)
    corners[:, :2] = corners[:, :2] @ np.array([[cosine, sine], [-sine, cosine]]) + thing.center
    return corners


def _box_color(thing: Box, at: np.ndarray, side: np.ndarray) -> np.ndarray:
    """(N, 3) at points of its surface: sides differ in brightness, and have windows."""
    shade = np.array([0.85, 0.65, 1.05])[side]
    if thing.kind == "building":
        windows = (at[:, 2] % 3.2 > 1.2) & ((at[:, 0] + at[:, 1]) % 2.6 > 1.2) & (side < 2)
        shade = np.where(windows, 0.5 * shade, shade)
    else:
        glass = (at[:, 2] > 0.55 * thing.size[2]) & (side < 2)
        shade = np.where(glass, 0.35 * shade, shade)
    return shade[:, None] * np.array(thing.color)


def _color(rgb: tuple[float, float, float], intensity: int) -> tuple[int, ...]:
    return (*(round(255 * c) for c in rgb), intensity)


def _texels(ring: shapely.LinearRing) -> np.ndarray:
    """Corners in 1/16 of a texel, whose centres OpenCV counts from."""
    return np.round(((shapely.get_coordinates(ring) + _MARGIN) / _TEXEL - 0.5) * 16).astype(np.int32)


def _lookup(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear values (N, 3) at N places; in rows, as OpenCV takes no column of more than 32767."""
    width = 256
    grids = [np.resize(v.astype(np.float32), (-(-len(v) // width), width)) for v in (x, y)]
    return cv2.remap(picture, grids[0], grids[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).reshape(-1, 3)[
        : len(x)
    ]
