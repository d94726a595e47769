"""Axis conventions of surface normals, and how one turns into another."""

from __future__ import annotations

import numpy as np

from ddp_repro.settings.errors import ConfigError

HOUSE = "right_down_ahead"
# Each axis as a signed axis of the house's: (index, sign) of x, y and z.
AXES = {
    "right_down_ahead": ((0, 1), (1, 1), (2, 1)),  # OpenCV; DSINE, and GenPercept's predictions
    "right_up_back": ((0, 1), (1, -1), (2, -1)),  # OpenGL; what most viewers of normal maps expect
    "left_up_ahead": ((0, -1), (1, -1), (2, 1)),  # PyTorch3D
    "left_up_back": ((0, -1), (1, -1), (2, -1)),  # the house's axes, each reversed
    "right_up_ahead": ((0, 1), (1, -1), (2, 1)),  # left-handed; Unity, DirectX
}


def convert_axes(normals: np.ndarray, to: str, source: str = HOUSE) -> np.ndarray:
    """Return normals (H, W, 3) on other axes.

    Raises:
        ConfigError: an unknown convention; names those that are known.
    """
    for name in (to, source):
        if name not in AXES:
            raise ConfigError(f"no axes {name!r}; known are {', '.join(AXES)}")
    house = np.empty_like(normals)
    for own, (index, sign) in enumerate(AXES[source]):
        house[..., index] = sign * normals[..., own]
    return np.stack([sign * house[..., index] for index, sign in AXES[to]], axis=-1)
