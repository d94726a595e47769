"""Colours of things and kinds of weather."""

from __future__ import annotations

import numpy as np

from data_prep.scenes.canvas import Color, Light

# Many cars are as grey as the road and many clothes as dull as the walls: colour alone must not give a class away.
CAR_COLORS: tuple[Color, ...] = (
    (0.30, 0.30, 0.31), (0.42, 0.42, 0.43), (0.55, 0.56, 0.57), (0.12, 0.12, 0.13), (0.80, 0.80, 0.79),
    (0.50, 0.09, 0.08), (0.10, 0.17, 0.36), (0.17, 0.27, 0.19), (0.62, 0.56, 0.42), (0.22, 0.34, 0.45),
)  # fmt: skip
WALL_COLORS: tuple[Color, ...] = (
    (0.52, 0.31, 0.24), (0.62, 0.43, 0.33), (0.72, 0.66, 0.54), (0.78, 0.75, 0.68), (0.55, 0.55, 0.54),
    (0.40, 0.40, 0.42), (0.66, 0.60, 0.42), (0.48, 0.52, 0.56), (0.70, 0.52, 0.42), (0.60, 0.66, 0.72),
)  # fmt: skip
LEAF_COLORS: tuple[Color, ...] = ((0.20, 0.31, 0.12), (0.27, 0.36, 0.14), (0.16, 0.25, 0.14), (0.42, 0.36, 0.13))
CLOTH_COLORS: tuple[Color, ...] = (
    (0.15, 0.16, 0.20), (0.45, 0.12, 0.12), (0.20, 0.28, 0.45), (0.62, 0.60, 0.56), (0.52, 0.40, 0.30),
    (0.35, 0.36, 0.37), (0.70, 0.55, 0.15), (0.22, 0.32, 0.22),
)  # fmt: skip
FENCE_COLORS: tuple[Color, ...] = ((0.42, 0.31, 0.21), (0.60, 0.60, 0.58), (0.24, 0.30, 0.22), (0.36, 0.36, 0.37))
SIGN_COLORS: tuple[Color, ...] = ((0.72, 0.08, 0.08), (0.08, 0.22, 0.60), (0.80, 0.68, 0.10), (0.10, 0.42, 0.25))


def random_light(rng: np.random.Generator) -> Light:
    """Draw a clear, overcast, hazy or dusky day with the sun in any direction."""
    weather = rng.choice(("clear", "overcast", "dusk", "hazy"), p=(0.45, 0.28, 0.13, 0.14))
    low, high = {"clear": (25, 60), "overcast": (30, 60), "dusk": (6, 15), "hazy": (20, 50)}[weather]
    elevation, azimuth = np.deg2rad(rng.uniform(low, high)), rng.uniform(0, 2 * np.pi)
    flat = float(np.cos(elevation))
    sun = (flat * float(np.sin(azimuth)), float(np.sin(elevation)), flat * float(np.cos(azimuth)))
    looks = {  # sun, ambient, sky at the top, sky at the horizon, clouds, haze
        "clear": (
            (1.10, 1.02, 0.86),
            (0.56, 0.61, 0.70),
            (0.27, 0.47, 0.78),
            (0.72, 0.82, 0.92),
            (0.0, 0.5),
            (250, 600),
        ),
        "overcast": (
            (0.15, 0.15, 0.15),
            (0.88, 0.90, 0.92),
            (0.62, 0.65, 0.69),
            (0.83, 0.84, 0.85),
            (0.8, 1.0),
            (150, 400),
        ),
        "dusk": (
            (0.70, 0.40, 0.20),
            (0.36, 0.36, 0.46),
            (0.20, 0.25, 0.42),
            (0.85, 0.58, 0.42),
            (0.1, 0.6),
            (150, 400),
        ),
        "hazy": ((0.50, 0.48, 0.43), (0.72, 0.74, 0.76), (0.68, 0.73, 0.78), (0.86, 0.87, 0.86), (0.2, 0.8), (45, 110)),
    }[str(weather)]
    sun_color, ambient, top, horizon, clouds, haze = looks
    return Light(
        sun=sun, sun_color=sun_color, ambient=ambient, sky_top=top, sky_horizon=horizon,
        clouds=rng.uniform(*clouds), haze=rng.uniform(*haze), dark=str(weather) == "dusk",
    )  # fmt: skip


def pick_color(rng: np.random.Generator, colors: tuple[Color, ...]) -> Color:
    """One of the colours, a little lighter or darker and tinted."""
    base, tint = colors[int(rng.integers(len(colors)))], rng.normal(0, 0.02, 3)
    level = rng.uniform(0.85, 1.15)
    red, green, blue = (min(max(c * level + float(d), 0.02), 0.98) for c, d in zip(base, tint, strict=True))
    return red, green, blue
