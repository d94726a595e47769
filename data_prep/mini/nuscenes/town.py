"""Synthetic towns: streets, pavements, crossings and car parks as map layers in metres, and what stands beside them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TypeVar, cast

import numpy as np
import shapely
from shapely import LineString, Polygon, affinity, box

from ddp_repro.tasks.bev.nuscenes.map import AREAS, LINES

_STREETS = 6  # in each of two directions
_LANE = 3.5  # metres
_GAPS = (42.0, 54.0, 58.0, 64.0, 70.0)  # between the middles of neighbouring streets; 42: one divider serves both
_SETBACK = 9.0  # metres from a crossing street to where dividers end

GeometryT = TypeVar("GeometryT", bound=shapely.Geometry)


@dataclass(frozen=True)
class Box:
    """An upright box on the ground.

    Attributes:
        center: (x, y) of its middle.
        size: (length, width, height) metres.
        yaw: radians of its length's direction.
        color: red, green, blue in 0..1.
        kind: "building" or "car".
    """

    center: tuple[float, float]
    size: tuple[float, float, float]
    yaw: float
    color: tuple[float, float, float]
    kind: str


@dataclass(frozen=True)
class Stretch:
    """A piece of a street between two crossings, in one direction of travel."""

    start: tuple[float, float]
    yaw: float  # radians
    length: float  # metres


@dataclass
class Town:
    """One location, in its own frame: axes along the streets, origin in the south-western corner.

    Attributes:
        areas, lines: geometries of every map layer, in drawing order.
        crossing_of: for each stop line, the number of its pedestrian crossing, or None.
        extent: metres from the origin to the other end, in x and y.
        placement: (6,) affine coefficients to the map's frame, as shapely takes them.
        yaw: radians by which that turns.
    """

    name: str
    extent: tuple[float, float]
    placement: tuple[float, ...]
    yaw: float
    areas: dict[str, list[Polygon]] = field(default_factory=lambda: {name: [] for name in AREAS})
    lines: dict[str, list[LineString]] = field(default_factory=lambda: {name: [] for name in LINES})
    crossing_of: list[int | None] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)

    def on_map(self, geometry: GeometryT) -> GeometryT:
        """Return a geometry in the map's frame."""
        return affinity.affine_transform(geometry, self.placement)

    def matrix(self) -> np.ndarray:
        """(4, 4), from the town's frame to the map's."""
        a, b, d, e, x, y = self.placement
        return np.array([[a, b, 0, x], [d, e, 0, y], [0, 0, 1, 0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class _Street:
    middle: float
    half: float  # half of its width
    upright: bool  # along y

    @property
    def lanes(self) -> int:
        """In each direction."""
        return round(self.half / _LANE)

    def rectangle(self, across: tuple[float, float], along: tuple[float, float]) -> Polygon:
        """Return the part of it between two distances from its middle line and two places along it."""
        low, high = self.middle + across[0], self.middle + across[1]
        return box(low, along[0], high, along[1]) if self.upright else box(along[0], low, along[1], high)

    def line(self, across: float, along: tuple[float, float]) -> LineString:
        ends = [(self.middle + across, place) for place in along]
        return LineString(ends if self.upright else [end[::-1] for end in ends])


def make_town(name: str, rng: np.random.Generator) -> Town:
    """Draw a town; equal generators give equal towns."""
    columns, rows = _streets(rng, upright=True), _streets(rng, upright=False)
    extent = (columns[-1].middle + columns[-1].half, rows[-1].middle + rows[-1].half)
    yaw = rng.uniform(-np.pi, np.pi)
    cosine, sine = np.cos(yaw), np.sin(yaw)
    middle = rng.uniform(280, 330, 2)  # a map has no negative coordinates
    corner = middle - np.array([[cosine, -sine], [sine, cosine]]) @ extent / 2
    town = Town(name, extent, (cosine, -sine, sine, cosine, *corner), yaw)
    _add_blocks(town, rng, columns, rows)
    for street, crossed in [(s, rows) for s in columns] + [(s, columns) for s in rows]:
        _add_street(town, rng, street, crossed, shared=street in columns and _has_near(street, columns))
    _add_shared_dividers(town, columns, rows)
    return town


def _streets(rng: np.random.Generator, upright: bool) -> list[_Street]:
    gaps = rng.permutation(_GAPS)
    halves = _LANE * rng.integers(1, 3, _STREETS)
    middles = np.cumsum([halves[0], *gaps])
    return [_Street(float(m), float(h), upright) for m, h in zip(middles, halves, strict=True)]


def _has_near(street: _Street, streets: list[_Street]) -> bool:
    return any(0 < abs(street.middle - other.middle) <= _GAPS[0] + 1e-6 for other in streets)


def _add_blocks(town: Town, rng: np.random.Generator, columns: list[_Street], rows: list[_Street]) -> None:
    """Add the roads, whose holes are the blocks; in each block a pavement around, buildings, perhaps a car park."""
    width, height = town.extent
    roads = shapely.union_all(
        [s.rectangle((-s.half, s.half), (0, height)) for s in columns]
        + [s.rectangle((-s.half, s.half), (0, width)) for s in rows]
    )
    roads = roads.buffer(4.0, quad_segs=4).buffer(-4.0, quad_segs=4)  # rounds the corners of the blocks
    town.areas["drivable_area"].append(roads)
    for hole in roads.interiors:
        block = Polygon(hole)
        pavement = rng.uniform(2.5, 4.0)
        inner = block.buffer(-pavement, join_style="mitre")
        town.areas["walkway"].append(cast(Polygon, block.difference(inner)))
        low_x, low_y, high_x, high_y = inner.bounds
        if rng.random() < 0.6 and min(high_x - low_x, high_y - low_y) > 24:
            _add_car_park(town, rng, block, inner.bounds)
            low_y += 20.0
        _add_buildings(town, rng, (low_x + 2, low_y + 2, high_x - 2, high_y - 2))


def _add_car_park(town: Town, rng: np.random.Generator, block: Polygon, inner: tuple[float, ...]) -> None:
    """Along the lower side of a block, with a drive across the pavement, and parked cars."""
    left, low, right, _ = inner
    left, right = left + 1, min(right - 1, left + rng.uniform(20, 40))
    town.areas["carpark_area"].append(box(left, low, right, low + 16))
    x = rng.uniform(left + 3, right - 3)
    town.areas["drivable_area"].append(box(x - 2.5, block.bounds[1] - 0.5, x + 2.5, low + 0.5))
    for place in np.arange(left + 1.5, right - 1.5, 2.8):
        if rng.random() < 0.4:
            town.boxes.append(_car(rng, (float(place), low + 12.5), np.pi / 2))


def _add_buildings(town: Town, rng: np.random.Generator, plot: tuple[float, float, float, float]) -> None:
    low_x, low_y, high_x, high_y = plot
    for start in np.arange(low_x, high_x - 10, 22.0):
        length = min(18.0, high_x - start)
        if high_y - low_y < 10 or rng.random() < 0.15:
            continue
        depth = min(high_y - low_y, rng.uniform(12, 30))
        grey, tint = rng.uniform(0.3, 0.75), rng.uniform(-0.12, 0.12, 3)
        red, green, blue = np.clip(grey + tint, 0.1, 0.9)
        middles = [low_y + depth / 2]
        if high_y - low_y > 2 * depth + 6:
            middles.append(high_y - depth / 2)
        for middle in middles:
            size = (length, depth, rng.uniform(5, 22))
            town.boxes.append(Box((start + length / 2, middle), size, 0.0, (red, green, blue), "building"))


def _car(rng: np.random.Generator, center: tuple[float, float], yaw: float) -> Box:
    colors = ((0.75, 0.75, 0.76), (0.1, 0.1, 0.12), (0.55, 0.08, 0.07), (0.1, 0.2, 0.5), (0.9, 0.9, 0.88))
    size = (rng.uniform(3.9, 4.8), rng.uniform(1.7, 1.95), rng.uniform(1.4, 1.8))
    return Box(center, size, yaw, colors[rng.integers(len(colors))], "car")


def _add_street(town: Town, rng: np.random.Generator, street: _Street, crossed: list[_Street], *, shared: bool) -> None:
    """Crossings, stop lines, dividers and parked cars of a street, piece by piece between those it crosses."""
    inner = _is_inner(street, town)
    for before, after in itertools.pairwise(crossed):
        along = (before.middle + before.half, after.middle - after.half)
        for place, sign in ((along[0], 1), (along[1], -1)):
            _add_crossing(town, rng, street, place, sign)
        piece = (along[0] + _SETBACK, along[1] - _SETBACK)
        if piece[1] - piece[0] < 5:
            continue
        if not shared:
            town.lines["road_divider"].append(street.line(0.0, piece))
        if street.lanes == 2:
            town.lines["lane_divider"] += [street.line(side * _LANE, piece) for side in (-1, 1)]
        if inner:
            town.stretches += [_stretch(street, piece, sign) for sign in (1, -1)]
        for place in np.arange(piece[0] + 3, piece[1] - 3, 6.5):
            if street.lanes == 2 and rng.random() < 0.2:
                across = street.middle + rng.choice([-1, 1]) * (street.half - 1.1)
                center = (across, place) if street.upright else (place, across)
                town.boxes.append(_car(rng, (float(center[0]), float(center[1])), np.pi / 2 * street.upright))


def _is_inner(street: _Street, town: Town) -> bool:
    """Whether there are blocks on both of its sides."""
    low, high = street.middle - street.half, street.middle + street.half
    return low > 1e-6 and high < town.extent[0 if street.upright else 1] - 1e-6


def _stretch(street: _Street, piece: tuple[float, float], sign: int) -> Stretch:
    """Traffic keeps to the left."""
    direction = np.pi / 2 * street.upright + (np.pi if sign < 0 else 0.0)
    lane = (street.half - _LANE / 2 if street.lanes == 1 else _LANE / 2) * sign * (-1 if street.upright else 1)
    place = piece[0] if sign > 0 else piece[1]
    start = (street.middle + lane, place) if street.upright else (place, street.middle + lane)
    return Stretch(start, direction, piece[1] - piece[0])


def _add_crossing(town: Town, rng: np.random.Generator, street: _Street, place: float, sign: int) -> None:
    """Add a pedestrian crossing where a piece of the street begins (``sign`` 1) or ends, and its stop line."""
    number = None
    if rng.random() < 0.8:
        number = len(town.areas["ped_crossing"])
        ends = sorted((place + sign * 1.5, place + sign * 5.5))
        town.areas["ped_crossing"].append(street.rectangle((-street.half, street.half), (ends[0], ends[1])))
    if rng.random() < 0.9:
        ends = sorted((place + sign * 6.0, place + sign * 9.0))
        left = (sign < 0) != street.upright  # whose lanes lead to the crossing
        across = (0.0, street.half) if left else (-street.half, 0.0)
        town.areas["stop_line"].append(street.rectangle(across, (ends[0], ends[1])))
        town.crossing_of.append(number)


def _add_shared_dividers(town: Town, columns: list[_Street], rows: list[_Street]) -> None:
    """Two streets close to each other have one divider, which turns around in the last cross street.

    From most places on them, it leaves the area around the car and comes back.
    """
    for one, two in itertools.pairwise(columns):
        if _has_near(one, [two]):
            low, high = rows[0].middle + rows[0].half + _SETBACK, rows[-1].middle
            turn = [(one.middle, low), (one.middle, high), (two.middle, high), (two.middle, low)]
            town.lines["road_divider"].append(LineString(turn))
