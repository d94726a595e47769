"""Descriptions of streets: what stands where, under which light. Random ones are drawn by :func:`random_street`."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from data_prep.scenes.canvas import Camera, Color, Light
from data_prep.scenes.looks import (
    CAR_COLORS,
    CLOTH_COLORS,
    FENCE_COLORS,
    LEAF_COLORS,
    SIGN_COLORS,
    WALL_COLORS,
    pick_color,
    random_light,
)
from data_prep.scenes.things import Thing

END = 110.0  # metres to the far end of a street


@dataclass(frozen=True)
class Side:
    """One side of the street, from the kerb outwards; widths in metres."""

    kerb: float  # distance of the kerb from the camera's path
    pavement: float
    verge: float  # between the pavement and what is built
    lawn: bool  # the verge is grass, not paved
    style: str  # "urban", "houses" or "park"


@dataclass(frozen=True)
class Scene:
    """Everything that determines a picture."""

    camera: Camera
    light: Light
    left: Side
    right: Side
    things: tuple[Thing, ...]
    crossing: tuple[float, float] | None  # the cross street's extent along z
    center_line: float  # x of the dashed line
    road_color: Color
    hood: bool  # the car that carries the camera is in the picture
    blur: float  # pixels
    grain: float  # standard deviation of the sensor noise, 0..1 scale
    seed: int

    def edge(self, sign: int) -> float:
        """Signed x of the line along which buildings stand on the left (-1) or right (1)."""
        side = self.right if sign > 0 else self.left
        return sign * (side.kerb + side.pavement + side.verge)


def shadow_length(scene_light: Light, height: float | np.ndarray) -> float | np.ndarray:
    """Metres that a building of this height throws its shadow across the street; negative: to the left."""
    x, up, _ = scene_light.sun
    return -height * x / max(up, 0.15)


def random_street(rng: np.random.Generator, width: int, height: int, *, hood: bool = False) -> Scene:
    """Draw a street for a picture of ``width`` x ``height`` pixels; equal generators give equal scenes."""
    left, right = _side(rng, rng.uniform(3.5, 7.5)), _side(rng, rng.uniform(2.2, 5.0))
    near = rng.uniform(14, 50)
    grey = rng.uniform(0.24, 0.46)
    scene = Scene(
        camera=_camera(rng, width, height),
        light=random_light(rng),
        left=left,
        right=right,
        things=(),
        crossing=(near, near + rng.uniform(7, 12)) if rng.random() < 0.45 else None,
        center_line=(right.kerb - left.kerb) / 2,
        road_color=(grey * rng.uniform(0.97, 1.06), grey, grey * rng.uniform(0.95, 1.07)),
        hood=hood,
        blur=rng.uniform(0.0, 0.8),
        grain=rng.uniform(0.006, 0.03),
        seed=int(rng.integers(1 << 30)),
    )
    things = [thing for sign in (-1, 1) for thing in _side_things(rng, scene, sign)]
    things += _far_end(rng) + _traffic(rng, scene) + _people(rng, scene)
    return dataclasses.replace(scene, things=tuple(_shadowed(thing, things, scene.light) for thing in things))


def _camera(rng: np.random.Generator, width: int, height: int) -> Camera:
    view = np.deg2rad(rng.uniform(52, 78))
    return Camera(
        width=width,
        height=height,
        focal=width / 2 / float(np.tan(view / 2)),
        center_x=width * rng.uniform(0.36, 0.64),
        horizon=height * rng.uniform(0.46, 0.64),
        elevation=rng.uniform(1.25, 2.1),
    )


def _side(rng: np.random.Generator, kerb: float) -> Side:
    style = str(rng.choice(("urban", "houses", "park"), p=(0.42, 0.30, 0.28)))
    verge = {"urban": 0.0, "houses": rng.uniform(2.5, 7), "park": rng.uniform(8, 25)}[style]
    return Side(kerb, rng.uniform(1.5, 4.0), verge, lawn=style == "park" or rng.random() < 0.75, style=style)


def _side_things(rng: np.random.Generator, scene: Scene, sign: int) -> list[Thing]:
    side, edge = (scene.right if sign > 0 else scene.left), scene.edge(sign)
    return _buildings(rng, scene, side, edge) + _greenery(rng, scene, side, edge) + _furniture(rng, scene, side, sign)


def _furniture(rng: np.random.Generator, scene: Scene, side: Side, sign: int) -> list[Thing]:
    """Lamps, signs, a traffic light before the crossing, a bin, and a fence along the pavement."""
    kerb, things = sign * (side.kerb + 0.4), []
    for z in np.arange(rng.uniform(6, 22), 80, rng.uniform(16, 28)):
        things.append(Thing("lamp", kerb, float(z), 0.2, rng.uniform(5.5, 8.0), seed=_seed(rng)))
    for _ in range(rng.integers(0, 4)):
        x, z, color = kerb + sign * rng.uniform(0, 0.8), rng.uniform(6, 40), pick_color(rng, SIGN_COLORS)
        things.append(Thing("sign", x, z, 1.0, rng.uniform(2.3, 3.3), color=color, seed=_seed(rng)))
    if scene.crossing and rng.random() < 0.85:
        z, height = scene.crossing[0] - 0.6, rng.uniform(3.2, 4.5)
        things.append(Thing("traffic light", kerb, z, 0.5, height, seed=_seed(rng)))
    if rng.random() < 0.5:
        x, z = kerb + sign * rng.uniform(0.2, side.pavement - 0.5), rng.uniform(6, 30)
        width, height, color = rng.uniform(0.5, 0.9), rng.uniform(0.8, 1.2), pick_color(rng, FENCE_COLORS)
        things.append(Thing("bin", x, z, width, height, color=color))
    if rng.random() < (0.12 if side.style == "urban" else 0.7):
        x = kerb if side.style == "urban" else sign * (side.kerb + side.pavement + 0.1)
        z, height, length = rng.uniform(2, 14), rng.uniform(0.8, 1.9), rng.uniform(8, 40)
        things.append(Thing("fence", x, z, 0.1, height, length, pick_color(rng, FENCE_COLORS), _seed(rng)))
    return things


def _buildings(rng: np.random.Generator, scene: Scene, side: Side, edge: float) -> list[Thing]:
    """Return a row of buildings along the street, with gaps; a park has a few far off."""
    things, z = [], rng.uniform(-10, 4)
    gap = {"urban": 0.12, "houses": 0.75, "park": 0.6}[side.style]
    while z < END:
        length = rng.uniform(8, 24) if side.style == "urban" else rng.uniform(8, 14)
        height = rng.uniform(7, 24) if side.style == "urban" else rng.uniform(4.5, 9)
        depth = rng.uniform(8, 14)
        near, far = scene.crossing or (math.inf, -math.inf)
        crossed = near - 1 < z + length and z < far + 1
        if z + length > 1 and not crossed:
            x = edge + np.sign(edge) * depth / 2
            things.append(
                Thing("building", x, max(z, 1.0), depth, height, length, pick_color(rng, WALL_COLORS), _seed(rng))
            )
        z = far + 1 if crossed and z < far else z + length
        z += rng.uniform(2, 14) if rng.random() < gap else 0.0
    return things


def _greenery(rng: np.random.Generator, scene: Scene, side: Side, edge: float) -> list[Thing]:
    sign, things = np.sign(edge), []
    rate = {"urban": 0.35, "houses": 0.7, "park": 1.0}[side.style]
    if rng.random() < rate:  # a row on the pavement or the verge
        offset = side.kerb + rng.uniform(0.7, max(side.pavement + side.verge * 0.5, 1.0))
        for z in np.arange(rng.uniform(7, 15), 90, rng.uniform(7, 14)):
            height = rng.uniform(3.5, 9)
            things.append(_plant(rng, "tree", sign * offset, float(z), height * rng.uniform(0.5, 0.8), height))
    if side.style != "urban":
        for _ in range(rng.integers(2, 7 if side.style == "houses" else 14)):
            x = sign * (side.kerb + side.pavement + rng.uniform(0.3, 1.0) * max(side.verge - 1, 1))
            kind, height = ("tree", rng.uniform(4, 11)) if rng.random() < 0.5 else ("bush", rng.uniform(0.7, 2.0))
            things.append(_plant(rng, kind, x, rng.uniform(7, 70), height * rng.uniform(0.6, 1.3), height))
    return things


def _far_end(rng: np.random.Generator) -> list[Thing]:
    """Close the view: blocks across the street, or a line of trees."""
    things, x = [], -90.0
    built = rng.random() < 0.55
    while x < 90.0:
        width = rng.uniform(8, 22)
        z = END + rng.uniform(2, 25)
        if built:
            things.append(
                Thing("building", x, z, width, rng.uniform(5, 26), 1.0, pick_color(rng, WALL_COLORS), _seed(rng))
            )
        else:
            things.append(_plant(rng, "bush", x, z, width * 1.5, rng.uniform(4, 13)))
        x += width * (0.95 if built else 0.6)
    return things


def _traffic(rng: np.random.Generator, scene: Scene) -> list[Thing]:
    things = []
    for side, sign in ((scene.left, -1), (scene.right, 1)):
        parking = sign * (side.kerb - 1.0)
        if rng.random() < 0.6 and side.kerb > 3.2:
            z = rng.uniform(6, 16)
            while z < 70 and rng.random() < 0.85:
                things.append(_car(rng, parking + rng.uniform(-0.15, 0.15), z, facing=sign < 0))
                z += rng.uniform(5.2, 11)
    own, oncoming = (scene.center_line + scene.right.kerb) / 2, (scene.center_line - scene.left.kerb) / 2
    for _ in range(rng.integers(0, 4)):
        toward = rng.random() < 0.5
        lane = oncoming if toward else own
        if rng.random() < 0.2:
            color = pick_color(rng, ((0.62, 0.10, 0.08), (0.75, 0.6, 0.1), *WALL_COLORS))
            height, length = rng.uniform(2.8, 3.3), rng.uniform(8, 12)
            things.append(Thing("bus", lane, rng.uniform(12, 50), 2.5, height, length, color, _seed(rng) * 2 + toward))
        else:
            things.append(_car(rng, lane + rng.uniform(-0.4, 0.4), 5.5 * 10.0 ** rng.random(), facing=toward))
    if scene.crossing and rng.random() < 0.5:
        x, z = rng.uniform(-7, 7), rng.uniform(scene.crossing[0] + 1, scene.crossing[1] - 1)
        things.append(
            Thing("crossing car", x, z, 4.3, rng.uniform(1.4, 1.7), color=pick_color(rng, CAR_COLORS), seed=_seed(rng))
        )
    return things


def _people(rng: np.random.Generator, scene: Scene) -> list[Thing]:
    things = []
    for _ in range(int(rng.integers(1, 11))):
        sign = int(rng.choice((-1, 1)))
        side = scene.right if sign > 0 else scene.left
        x = sign * (side.kerb + rng.uniform(0.3, side.pavement))
        z = 4.0 * 9.0 ** rng.random()  # as many between 4 and 12 m as between 12 and 36 m
        if rng.random() < 0.12:  # on the road
            x = rng.uniform(-side.kerb, side.kerb)
            z = max(z, 10.0)
        things.append(_person(rng, x, z))
        if rng.random() < 0.35:
            things.append(_person(rng, x + rng.uniform(0.4, 0.8), z + rng.uniform(-0.4, 0.4)))
    for _ in range(int(rng.integers(0, 3)) if rng.random() < 0.55 else 0):
        parked = rng.random() < 0.4
        sign = int(rng.choice((-1, 1)))
        side = scene.right if sign > 0 else scene.left
        x = sign * (side.kerb + (0.8 if parked else -0.8))
        kind, color = ("bicycle" if parked else "cyclist"), pick_color(rng, CLOTH_COLORS)
        things.append(Thing(kind, x, rng.uniform(4, 18), 1.75, 1.85, color=color, seed=_seed(rng)))
    return things


def _person(rng: np.random.Generator, x: float, z: float) -> Thing:
    return Thing("person", x, z, 0.8, rng.uniform(1.45, 1.9), color=pick_color(rng, CLOTH_COLORS), seed=_seed(rng))


def _plant(rng: np.random.Generator, kind: str, x: float, z: float, width: float, height: float) -> Thing:
    return Thing(kind, x, z, width, height, color=pick_color(rng, LEAF_COLORS), seed=_seed(rng))


def _car(rng: np.random.Generator, x: float, z: float, *, facing: bool) -> Thing:
    van = rng.random() < 0.15
    height, length = (
        (rng.uniform(1.9, 2.3), rng.uniform(4.6, 5.3)) if van else (rng.uniform(1.38, 1.65), rng.uniform(3.7, 4.6))
    )
    return Thing("car", x, z, 1.8, height, length, pick_color(rng, CAR_COLORS), _seed(rng) * 2 + facing)


def _shadowed(thing: Thing, things: list[Thing], light: Light) -> Thing:
    """``thing`` with the share of the sun that the buildings beside it take away (its foot counts half)."""
    if thing.kind == "building":
        return thing
    for other in things:
        if other.kind == "building" and other.z <= thing.z <= other.z + other.length:
            face = other.x - np.sign(other.x) * other.width / 2
            reach = shadow_length(light, max(other.height - thing.height / 2, 0.0))
            if (thing.x - face) * reach > 0 and abs(thing.x - face) < abs(reach):
                return dataclasses.replace(thing, shadow=1.0)
    return thing


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 20))
