"""How buildings, plants and street furniture look; :data:`PAINTERS` lists everything that a street may hold."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from data_prep.scenes.canvas import Canvas, Light, Patch, cell_value, noise
from data_prep.scenes.things import FRONT, LAMPLIGHT, METAL, Thing, bar, box, disc
from data_prep.scenes.traffic import paint_car, paint_crossing_car, paint_cyclist, paint_person


def paint_building(canvas: Canvas, thing: Thing, light: Light) -> None:
    """Paint a block along the street: its facade on the street's side, and the end that faces the camera."""
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
    """Paint a trunk and a crown of several clumps whose edge is ragged and has gaps."""
    patch = canvas.card(thing.x, thing.z, thing.width, thing.height, light.shade(FRONT, thing.shadow))
    if patch is None:
        return
    s, t, rng = patch.s, patch.t, random.Random(thing.seed)
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
        rx, ry = radius * rng.uniform(0.4, 0.6), (thing.height - trunk) * rng.uniform(0.22, 0.36)
        reach_x, top = radius - 1.25 * rx, thing.height - 1.25 * ry  # a ragged edge is at most 1.25 radii out
        cx, cy = rng.uniform(-reach_x, reach_x), rng.uniform(min(trunk + 0.5 * ry, top), top)
        distance = ((s - cx) / rx) ** 2 + ((t - cy) / ry) ** 2
        relief += np.maximum(1 - distance, 0) * (0.3 + 0.3 * ((t - cy) / ry))
        np.minimum(edge, distance, out=edge)
    crown = (edge + 0.75 * (coarse + 0.7 * fine) < 1.55) & (t > 0)
    patch.fill(crown, thing.color, "tree", 1.25 - 0.6 * fine - 0.3 * coarse + 0.35 * relief)


def paint_pole(canvas: Canvas, thing: Thing, light: Light) -> None:
    """Paint a pole that carries a street lamp, a traffic light or a sign, according to ``kind``."""
    patch = canvas.card(thing.x, thing.z, max(thing.width, 2.4), thing.height, light.shade(FRONT, thing.shadow))
    if patch is None:
        return
    s, t, top = patch.s, patch.t, thing.height
    half = max(0.06, patch.pixel)  # two fine pixels, so that one of them is a pixel's centre
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
    """Paint a litter bin or a box that belongs to no class."""
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
