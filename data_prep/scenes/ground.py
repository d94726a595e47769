"""The flat ground: road with its markings, pavement and grass, and the shadows that lie on them."""

from __future__ import annotations

import numpy as np

from data_prep.scenes.canvas import CLASS_INDEX, Canvas, cell_value, noise
from data_prep.scenes.street import Scene, shadow_length
from data_prep.scenes.things import Thing, disc

_PAVEMENT, _GRASS = np.array((0.56, 0.54, 0.51), np.float32), np.array((0.28, 0.36, 0.15), np.float32)


def paint_ground(scene: Scene, canvas: Canvas) -> None:
    """Fill everything below the horizon: colour, classes and depth."""
    first = int(np.searchsorted(canvas.rows, 1e-3, side="right"))
    if first >= canvas.camera.height:
        return
    z = (canvas.camera.focal * canvas.camera.elevation / canvas.rows[first:])[:, None]
    x = canvas.columns[None, :] * z / canvas.camera.focal
    names, color = _ground_classes(scene, x, z)
    near = np.exp(-z / 22.0)
    tone = 1.0 + (0.28 * noise(x, z, 5.0, scene.seed) - 0.14) + near * (0.35 * noise(x, z, 0.35, scene.seed + 1) - 0.17)
    _mark_road(scene, x, z, names, color, tone)
    slabs = (names == CLASS_INDEX["pavement"]) & (((x % 0.9) < 0.06) | ((z % 0.9) < 0.06))
    tone = np.where(slabs, tone * (1 - 0.3 * near), tone)
    blocked, dark = _shadows(scene, x, z)
    light = scene.light
    direct = light.sun[1] * (1 - np.maximum(blocked, dark))[..., None] * np.asarray(light.sun_color, np.float32)
    shade = (np.asarray(light.ambient, np.float32) + direct) * (1 - 0.45 * dark[..., None])
    canvas.rgb[first:] = color * tone[..., None] * shade
    canvas.classes[first:] = names
    canvas.depth[first:] = z


def _ground_classes(scene: Scene, x: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    names = np.full(np.broadcast_shapes(x.shape, z.shape), CLASS_INDEX["road"], np.uint8)
    color = np.broadcast_to(np.asarray(scene.road_color, np.float32), (*names.shape, 3)).copy()
    for side, sign in ((scene.left, -1), (scene.right, 1)):
        out = x * sign - side.kerb
        paved, beyond = out >= 0, out >= side.pavement
        names[paved], color[paved] = CLASS_INDEX["pavement"], _PAVEMENT * (0.85 + 0.3 * (scene.seed % 7) / 6)
        color[paved & (out < 0.16)] = 0.66  # kerb stones
        if side.lawn and side.verge:
            names[beyond], color[beyond] = CLASS_INDEX["grass"], _GRASS
    if scene.crossing:
        across = np.broadcast_to((z > scene.crossing[0]) & (z < scene.crossing[1]), names.shape)
        names[across], color[across] = CLASS_INDEX["road"], scene.road_color
    return names, color


def _mark_road(
    scene: Scene, x: np.ndarray, z: np.ndarray, names: np.ndarray, color: np.ndarray, tone: np.ndarray
) -> None:
    """Lines, a zebra crossing and repairs; all of class road."""
    road = names == CLASS_INDEX["road"]
    patches = cell_value(np.floor(x / 2.5 + 0.3), np.floor(z / 6.0), scene.seed)
    tone[road & (patches > 0.85)] *= 0.82
    line = (np.abs(x - scene.center_line) < 0.09) & ((z + scene.seed % 6) % 6.0 < 3.0)
    if scene.seed % 2:
        line |= (np.abs(x - scene.right.kerb + 0.35) < 0.07) | (np.abs(x + scene.left.kerb - 0.35) < 0.07)
    if scene.crossing:
        start = scene.crossing[0]
        line = (line & ((z < start - 4) | (z > scene.crossing[1]))) | (
            (z > start - 3.4) & (z < start - 0.6) & (x % 1.0 < 0.5)
        )
    color[road & line] = (0.76, 0.75, 0.70)


def _shadows(scene: Scene, x: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the sun that is blocked, and darkness right under things; both (h, w) in 0..1."""
    blocked = np.zeros(np.broadcast_shapes(x.shape, z.shape), np.float32)
    dark = np.zeros_like(blocked)
    depths = z[:, 0]  # falling: row 0 is the horizon
    for thing in scene.things:
        rows = slice(*np.searchsorted(-depths, (-(thing.z + thing.length + 3.5), -(thing.z - 3.5))))
        if rows.start == rows.stop:
            continue
        if thing.kind == "building":
            blocked[rows] = np.maximum(blocked[rows], _behind_building(scene, thing, x[rows], z[rows]))
        elif thing.kind != "fence" and thing.z < 45 and abs(thing.x) < 25:  # others' shadows are not seen
            blocked[rows] = np.maximum(blocked[rows], _cast(scene, thing, x[rows], z[rows]))
            dark[rows] = np.maximum(dark[rows], _under(thing, x[rows], z[rows]))
    return blocked, dark


def _behind_building(scene: Scene, thing: Thing, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    face = thing.x - np.sign(thing.x) * thing.width / 2
    end = face + shadow_length(scene.light, thing.height)
    return (x > min(face, end)) & (x < max(face, end)) & (z > thing.z) & (z < thing.z + thing.length)


def _cast(scene: Scene, thing: Thing, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Cast an ellipse on the side away from the sun; dappled under trees."""
    half = max(thing.width, 0.3) / 2
    shift = float(np.clip(shadow_length(scene.light, thing.height * 0.5), -6, 6))
    reach = thing.length / 2 or half * (0.6 if thing.kind in ("tree", "bush") else 0.35)
    cast = disc(x, z, thing.x + shift, thing.z + thing.length / 2, half + 0.3 * abs(shift), max(reach, 0.3))
    if thing.kind in ("tree", "bush"):
        cast &= noise(x, z, 0.8, thing.seed) > 0.3
    return cast


def _under(thing: Thing, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    half = max(thing.width, 0.3) / 2
    if thing.length:  # vehicles
        return (np.abs(x - thing.x) < half + 0.1) & (z > thing.z - 0.25) & (z < thing.z + thing.length)
    return 0.5 * disc(x, z, thing.x, thing.z, half * 0.8, max(0.3 * half, 0.15))
