"""How whatever moves along a street looks: cars, buses, people and bicycles."""

from __future__ import annotations

import numpy as np

from data_prep.scenes.canvas import Canvas, Color, Light, Patch, noise
from data_prep.scenes.things import FRONT, GLASS, METAL, RUBBER, Thing, bar, box, disc


def paint_car(canvas: Canvas, thing: Thing, light: Light) -> None:
    """Paint a box with a rear (or front) and the side that the camera sees; buses and vans are taller boxes."""
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
    """Paint a car seen from its side, crossing the street."""
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
    """Paint a bicycle seen from its side, with a rider (class ``rider``) or parked without one."""
    patch = canvas.card(thing.x, thing.z, thing.width, thing.height, light.shade(FRONT, thing.shadow))
    if patch is None:
        return
    s, t, thin = patch.s, patch.t, max(0.05, 1.5 * patch.pixel)
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
