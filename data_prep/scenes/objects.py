"""How each thing on a street looks: silhouettes and textures on cards and walls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data_prep.scenes.canvas import Canvas, Color, Light, Patch, cell_value, noise

FRONT = (0.0, 0.0, -1.0)  # normal of a card
GLASS: Color = (0.10, 0.13, 0.17)
RUBBER: Color = (0.05, 0.05, 0.06)
METAL: Color = (0.42, 0.43, 0.44)
LAMPLIGHT: Color = (1.0, 0.86, 0.55)


@dataclass(frozen=True)
class Thing:
    """One object: where it stands (metres right of and ahead of the camera), how large it is, and its looks."""

    kind: str  # a key of PAINTERS
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


def paint_building(canvas: Canvas, thing: Thing, light: Light) -> None:
    """A block along the street: its facade on the street's side, and the end that faces the camera."""
    inner = thing.x - np.sign(thing.x) * thing.width / 2
    side = light.shade((-float(np.sign(thing.x)), 0.0, 0.0), thing.shadow)
    faces = [canvas.card(thing.x, thing.z, thing.width, thing.height, light.shade(FRONT, thing.shadow))]
    if abs(thing.x) > thing.width / 2:
        faces.append(canvas.wall(inner, thing.z, thing.z + thing.length, thing.height, side))
    for face in faces:
        if face is not None:
            _paint_facade(face, thing, light)


def _paint_facade(face: Patch, thing: Thing, light: Light) -> None:
    s, t, seed = face.s + 50.0, face.t, thing.seed
    inside = (t >= 0) & (t < thing.height) & (face.s >= -thing.width) & (face.s <= max(thing.length, thing.width))
    grain = 0.82 + 0.3 * noise(s, t, 1.5, seed)
    if seed % 3 == 0:  # brick courses
        grain = grain * np.where((t * 4.0) % 1.0 < 0.25, 0.85, 1.0)
    face.fill(inside, thing.color, "building", grain)
    bay, floor = 1.8 + (seed % 7) * 0.35, 2.8 + (seed % 5) * 0.25
    column, storey = np.floor(s / bay), np.floor((t - 0.9) / floor)
    across, up = s / bay - column, (t - 0.9) / floor - storey
    share = 0.30 + 0.08 * (seed % 6)  # glass share of a bay
    pane = inside & (np.abs(across - 0.5) < share / 2) & (np.abs(up - 0.5) < 0.2 + 0.06 * (seed % 4))
    pane &= (t < thing.height - 0.8) & (cell_value(column, storey, seed) > 0.06)
    tone = 0.5 + 1.6 * cell_value(column, storey, seed + 5) ** 2 + 0.5 * up
    face.fill(pane, (0.16, 0.20, 0.25) if seed % 4 else (0.30, 0.36, 0.42), "building", tone)
    if light.dark:
        lit = pane & (cell_value(column, storey, seed + 9) > 0.62)
        face.fill(lit, LAMPLIGHT, "building", 0.55 + 0.4 * cell_value(column, storey, seed + 3), glow=True)
    if seed % 3 != 1:  # shops and doors at street level
        shop = inside & (t < 2.6) & (t > 0.25) & (np.abs(s / 3.5 - np.floor(s / 3.5) - 0.5) < 0.38)
        face.fill(shop, (0.22, 0.20, 0.20), "building", 0.5 + 1.2 * cell_value(np.floor(s / 3.5), t * 0, seed + 2))
    face.fill(inside & (t > thing.height - 0.45), thing.color, "building", 0.62)


def paint_tree(canvas: Canvas, thing: Thing, light: Light) -> None:
    """A trunk and a crown of several clumps whose edge is ragged and has gaps."""
    patch = canvas.card(thing.x, thing.z, thing.width, thing.height, light.shade(FRONT, thing.shadow))
    if patch is None:
        return
    s, t, rng = patch.s, patch.t, np.random.default_rng(thing.seed)
    trunk = thing.height * (0.45 if thing.kind == "tree" else 0.0)
    if trunk:
        lean = 0.04 * np.sin(t * 1.3 + thing.seed)
        half = np.maximum(0.035 * thing.height * (1.2 - t / thing.height), 0.6 * patch.pixel)
        patch.fill(
            (np.abs(s - lean) < half) & (t < trunk * 1.4), (0.24, 0.18, 0.13), "tree", 0.6 + 0.7 * noise(s, t, 0.4, 3)
        )
    radius = thing.width / 2
    coarse, fine = noise(s, t, 1.1, thing.seed), noise(s, t, 0.35, thing.seed + 1)
    edge, relief = np.full(fine.shape, 9.0, np.float32), np.zeros(fine.shape, np.float32)
    for _ in range(5):
        cx, cy = rng.uniform(-0.45, 0.45) * radius, trunk * 0.9 + rng.uniform(0.25, 0.75) * (thing.height - trunk)
        rx, ry = radius * rng.uniform(0.45, 0.7), (thing.height - trunk) * rng.uniform(0.25, 0.4)
        distance = ((s - cx) / rx) ** 2 + ((t - cy) / ry) ** 2
        relief += np.maximum(1 - distance, 0) * (0.3 + 0.3 * ((t - cy) / ry))
        np.minimum(edge, distance, out=edge)
    crown = (edge + 0.75 * (coarse + 0.7 * fine) < 1.55) & (t > 0)
    patch.fill(crown, thing.color, "tree", 1.25 - 0.6 * fine - 0.3 * coarse + 0.35 * relief)


def paint_car(canvas: Canvas, thing: Thing, light: Light) -> None:
    """A box with a rear (or front) and the side that the camera sees; buses and vans are taller boxes."""
    name = "bus" if thing.kind == "bus" else "car"
    inner = thing.x - np.sign(thing.x) * thing.width / 2
    if thing.length and abs(thing.x) > thing.width / 2:
        side = light.shade((-float(np.sign(thing.x)), 0.0, 0.0), thing.shadow)
        flank = canvas.wall(inner, thing.z, thing.z + thing.length, thing.height, side)
        if flank is not None:
            (_paint_bus_side if name == "bus" else _paint_car_side)(flank, thing, thing.length)
    end = canvas.card(thing.x, thing.z, thing.width, thing.height, light.shade(FRONT, thing.shadow))
    if end is not None:
        _paint_car_end(end, thing, light, name)


def paint_crossing_car(canvas: Canvas, thing: Thing, light: Light) -> None:
    """A car seen from its side, crossing the street."""
    patch = canvas.card(thing.x, thing.z, thing.width, thing.height, light.shade(FRONT, thing.shadow))
    if patch is not None:
        patch.s = patch.s + thing.width / 2
        _paint_car_side(patch, thing, thing.width)


def _paint_car_side(patch: Patch, thing: Thing, length: float) -> None:
    s, t, h = patch.s / length, patch.t / thing.height, thing.height
    waist = 0.58
    body = box(s, t, 0.0, 1.0, 0.16, waist) & (t < waist - 0.10 * np.clip((np.abs(s - 0.5) - 0.3) * 5, 0, 1))
    rise = np.clip((t - waist) / (1 - waist), 0, 1)
    cabin = (t >= waist - 0.12) & (t < 0.99) & (s > 0.06 + 0.14 * rise) & (s < 0.80 - 0.16 * rise)
    patch.fill(body | cabin, thing.color, "car", 0.75 + 0.45 * t + 0.08 * noise(patch.s, patch.t, 0.6, thing.seed))
    pane = (t > waist) & (t < 0.92) & (s > 0.11 + 0.14 * rise) & (s < 0.75 - 0.16 * rise) & (np.abs(s - 0.42) > 0.015)
    patch.fill(pane, GLASS, "car", 0.7 + 1.3 * rise)
    for hub in (0.2, 0.8):
        wheel = disc(patch.s, patch.t, hub * length, 0.22 * h, 0.23 * h)
        patch.fill(wheel, RUBBER, "car")
        patch.fill(disc(patch.s, patch.t, hub * length, 0.22 * h, 0.12 * h), METAL, "car", 0.8)


def _paint_bus_side(patch: Patch, thing: Thing, length: float) -> None:
    s, t = patch.s, patch.t / thing.height
    patch.fill(box(s, t, 0.0, length, 0.12, 1.0), thing.color, "bus", 0.8 + 0.25 * t)
    bay = s / 1.4 - np.floor(s / 1.4)
    patch.fill(box(s, t, 0.3, length - 0.3, 0.48, 0.84) & (np.abs(bay - 0.5) < 0.44), GLASS, "bus", 0.7 + 0.9 * t)
    for hub in (0.2, 0.8):
        patch.fill(disc(s, patch.t, hub * length, 0.5, 0.5), RUBBER, "bus")


def _paint_car_end(patch: Patch, thing: Thing, light: Light, name: str) -> None:
    """Seen from behind (even seeds) or from the front (odd seeds)."""
    s, t, front = patch.s / thing.width, patch.t / thing.height, thing.seed % 2 == 1
    rise = np.clip((t - 0.55) / 0.45, 0, 1)
    taper = 0.0 if name == "bus" else 0.13
    body = (np.abs(s) < 0.5 - taper * rise - 0.04 * (t < 0.3)) & (t > 0.13) & (t < 0.995)
    tyres = (t <= 0.2) & (t >= 0.0) & (np.abs(np.abs(s) - 0.37) < 0.09)
    patch.fill(tyres, RUBBER, name)
    patch.fill(body, thing.color, name, 0.72 + 0.4 * t + 0.06 * noise(patch.s, patch.t, 0.5, thing.seed))
    patch.fill(body & (t < 0.26), (0.10, 0.10, 0.11), name)
    pane = (np.abs(s) < 0.42 - taper * rise) & (t > 0.58) & (t < 0.93)
    patch.fill(pane, GLASS, name, 0.6 + 1.6 * rise)
    lamp = (np.abs(np.abs(s) - 0.39) < 0.075) & (np.abs(t - (0.42 if front else 0.47)) < 0.065)
    patch.fill(
        lamp, (0.95, 0.94, 0.85) if front else (0.62, 0.07, 0.06), name, 1.0 if light.dark else 0.85, glow=light.dark
    )
    patch.fill(box(s, t, -0.14, 0.14, 0.28, 0.35), (0.85, 0.84, 0.70), name)


def paint_person(canvas: Canvas, thing: Thing, light: Light) -> None:
    """Somebody standing or walking."""
    patch = canvas.card(thing.x, thing.z, thing.width, thing.height, light.shade(FRONT, thing.shadow))
    if patch is not None:
        _paint_body(patch, thing, "person", hip=0.48, stride=0.02 + 0.05 * (thing.seed % 4))


def _paint_body(patch: Patch, thing: Thing, name: str, hip: float, stride: float) -> None:
    """Legs, trunk, arms and head; lengths are shares of the height."""
    s, t, seed = patch.s / thing.height, patch.t / thing.height, thing.seed
    trousers = ((0.12, 0.13, 0.17), (0.20, 0.23, 0.32), (0.30, 0.27, 0.23), (0.07, 0.07, 0.08))[seed % 4]
    skin = ((0.78, 0.60, 0.50), (0.55, 0.38, 0.28), (0.33, 0.22, 0.16))[seed % 3]
    for foot in (-stride, stride):
        patch.fill(bar(s, t, (0.3 * foot, hip), (foot, 0.02), 0.085), trousers, name, 0.85 if foot < 0 else 1.0)
    shoulder, neck = 0.085 + 0.012 * (seed % 3), 0.84
    for hand in (-1.0, 1.0):
        swing = hand * (shoulder + 0.5 * stride)
        patch.fill(bar(s, t, (hand * shoulder, neck - 0.05), (swing, hip), 0.055), thing.color, name, 0.85)
    trunk = (np.abs(s) < shoulder * (0.85 + 0.25 * (t - hip))) & (t > hip - 0.05) & (t < neck)
    patch.fill(trunk, thing.color, name, 0.8 + 0.35 * noise(patch.s, patch.t, 0.3, seed))
    patch.fill(disc(s, t, 0.0, 0.92, 0.055, 0.072), skin, name)
    patch.fill(disc(s, t, 0.0, 0.95, 0.056, 0.05), ((0.1, 0.07, 0.05), (0.45, 0.33, 0.16))[seed % 2], name)


def paint_cyclist(canvas: Canvas, thing: Thing, light: Light) -> None:
    """A bicycle seen from its side, with a rider (class ``rider``) or parked without one."""
    patch = canvas.card(thing.x, thing.z, thing.width, thing.height, light.shade(FRONT, thing.shadow))
    if patch is None:
        return
    s, t, thin = patch.s, patch.t, max(0.05, 0.9 * patch.pixel)
    frame: Color = ((0.08, 0.08, 0.09), (0.5, 0.1, 0.1), (0.75, 0.75, 0.78))[thing.seed % 3]
    if thing.kind == "cyclist":
        rider = Thing("person", 0, 0, 0.9, 1.45, color=thing.color, seed=thing.seed)
        lifted = Patch(patch.canvas, patch.rows, patch.cols, s + 0.12, t - 0.3, patch.depth, patch.shade)
        _paint_body(lifted, rider, "rider", hip=0.45, stride=0.1)
    for hub in (-0.52, 0.52):
        ring = np.abs(np.hypot(s - hub, t - 0.34) - 0.31) < thin / 2 + 0.015
        patch.fill(ring, RUBBER, "bicycle")
    joints = {
        "rear": (-0.52, 0.34),
        "front": (0.52, 0.34),
        "pedal": (-0.05, 0.3),
        "seat": (-0.2, 0.9),
        "bar": (0.42, 0.98),
    }
    for a, b in (
        ("rear", "pedal"),
        ("rear", "seat"),
        ("pedal", "seat"),
        ("pedal", "bar"),
        ("seat", "bar"),
        ("bar", "front"),
    ):
        patch.fill(bar(s, t, joints[a], joints[b], thin), frame, "bicycle")


def paint_pole(canvas: Canvas, thing: Thing, light: Light) -> None:
    """A pole that carries a street lamp, a traffic light or a sign, according to ``kind``."""
    patch = canvas.card(thing.x, thing.z, max(thing.width, 2.4), thing.height, light.shade(FRONT, thing.shadow))
    if patch is None:
        return
    s, t, top = patch.s, patch.t, thing.height
    half = max(0.06, 0.55 * patch.pixel)
    patch.fill(
        (np.abs(s) < half) & (t >= 0) & (t < top - 0.05), METAL if thing.seed % 3 else (0.13, 0.16, 0.14), "pole"
    )
    if thing.kind == "lamp":
        reach = -np.sign(thing.x) * 1.0
        patch.fill(bar(s, t, (0, top - 0.45), (reach, top - 0.2), 2 * half), METAL, "pole")
        patch.fill(
            disc(s, t, reach, top - 0.22, 0.3, 0.12), LAMPLIGHT if light.dark else METAL, "pole", glow=light.dark
        )
    elif thing.kind == "traffic light":
        patch.fill(box(s, t, -0.24, 0.24, top - 1.1, top), (0.07, 0.08, 0.07), "traffic light")
        on = thing.seed % 3
        for i, color in enumerate(((0.95, 0.12, 0.08), (0.98, 0.7, 0.1), (0.15, 0.9, 0.4))):
            lamp = disc(s, t, 0.0, top - 0.2 - 0.35 * i, 0.14)
            patch.fill(lamp, color if i == on else (0.16, 0.16, 0.15), "traffic light", glow=i == on)
    elif thing.kind == "sign":
        _paint_sign(patch, thing, top)


def _paint_sign(patch: Patch, thing: Thing, top: float) -> None:
    s, t, rim, y = patch.s, patch.t, thing.color, top - 0.45
    shape = thing.seed % 4
    if shape == 0:
        outer, inner = disc(s, t, 0, y, 0.42), disc(s, t, 0, y, 0.28)
    elif shape == 1:
        outer, inner = np.abs(s) < (top - t) * 0.55, np.abs(s) < (top - t - 0.22) * 0.5
        outer, inner = outer & (t > top - 0.85) & (t < top), inner & (t > top - 0.7) & (t < top)
    elif shape == 2:
        outer, inner = box(s, t, -0.42, 0.42, top - 0.85, top), box(s, t, -0.25, 0.25, top - 0.65, top - 0.2)
    else:
        outer, inner = box(s, t, -0.95, 0.95, top - 0.75, top), box(s, t, -0.75, 0.6, top - 0.5, top - 0.3)
    patch.fill(outer, rim, "sign")
    patch.fill(inner, (0.9, 0.9, 0.88), "sign")


def paint_fence(canvas: Canvas, thing: Thing, light: Light) -> None:
    """Boards or a hedge-coloured panel along the street."""
    patch = canvas.wall(
        thing.x,
        thing.z,
        thing.z + thing.length,
        thing.height,
        light.shade((-float(np.sign(thing.x)), 0, 0), thing.shadow),
    )
    if patch is None:
        return
    s, t, board = patch.s, patch.t, 0.25 + 0.1 * (thing.seed % 3)
    part = s / board - np.floor(s / board)
    notch = 0.12 * (np.abs(part - 0.5) * 2) if thing.seed % 2 else 0.0  # pickets
    panel = (s >= 0) & (t >= 0) & (t < thing.height - notch)
    fade = np.clip(board * canvas.camera.focal / np.maximum(patch.depth, 0.1) / 4.0, 0, 1)
    tone = (0.75 + 0.4 * cell_value(np.floor(s / board), np.zeros_like(s), thing.seed)) * (
        1 - 0.5 * fade * (part < 0.2)
    )
    patch.fill(panel, thing.color, "fence", tone * (0.85 + 0.3 * noise(s, t, 0.6, thing.seed)))
    rail = panel & ((np.abs(t - 0.75 * thing.height) < 0.05) | (np.abs(t - 0.25 * thing.height) < 0.05))
    patch.fill(rail, thing.color, "fence", 0.65)


def paint_bin(canvas: Canvas, thing: Thing, light: Light) -> None:
    """A litter bin or a box that belongs to no class."""
    patch = canvas.card(thing.x, thing.z, thing.width, thing.height, light.shade(FRONT, thing.shadow))
    if patch is not None:
        t = patch.t / thing.height
        body = (np.abs(patch.s) < thing.width * (0.38 + 0.1 * t)) & (t > 0) & (t < 0.96)
        patch.fill(body, thing.color, "other", 0.75 + 0.3 * (t > 0.8))


PAINTERS: dict[str, Callable[[Canvas, Thing, Light], None]] = {
    "building": paint_building,
    "tree": paint_tree,
    "bush": paint_tree,
    "car": paint_car,
    "crossing car": paint_crossing_car,
    "bus": paint_car,
    "person": paint_person,
    "cyclist": paint_cyclist,
    "bicycle": paint_cyclist,
    "lamp": paint_pole,
    "traffic light": paint_pole,
    "sign": paint_pole,
    "fence": paint_fence,
    "bin": paint_bin,
}
