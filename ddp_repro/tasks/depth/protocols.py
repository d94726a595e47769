"""Depth evaluation protocols: which pixels count, and between which depths.

The literature compares numbers that were measured under these rules; another crop or cap gives other numbers, so that
every depth table prints its protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ddp_repro.settings.errors import ConfigError

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is measured of one image.

    Attributes:
        min_depth, max_depth: metres; truth outside is left out, predictions are clamped to it.
        rows, columns: the counted window as fractions of the image's height and width, or in pixels; None: all.
        in_pixels: whether ``rows`` and ``columns`` are pixels.
        source: whose rule it is.
    """

    name: str
    min_depth: float = 1e-3
    max_depth: float
    rows: Range | None = None
    columns: Range | None = None
    in_pixels: bool = False
    source: str

    def valid(self, truth: Tensor) -> Tensor:
        """Which pixels of a depth map (H, W) in metres count; bool (H, W)."""
        inside = torch.zeros_like(truth, dtype=torch.bool)
        inside[self._slice(self.rows, truth.shape[0]), self._slice(self.columns, truth.shape[1])] = True
        return inside & (truth > self.min_depth) & (truth < self.max_depth)

    def describe(self) -> str:
        """One sentence for the foot of a table."""
        cap = f"{self.min_depth:g} m < truth < {self.max_depth:g} m, predictions clamped to it"
        return f"{self.source}; {cap}; {self._window()}; no median scaling; measures per image, then their mean"

    def _slice(self, bounds: Range | None, size: int) -> slice:
        if bounds is None:
            return slice(None)
        # Truncated as in the published scripts; the small number undoes binary fractions such as 470.99999.
        low, high = bounds if self.in_pixels else (fraction * size + 1e-6 for fraction in bounds)
        return slice(int(low), int(high))

    def _window(self) -> str:
        if self.rows is None or self.columns is None:
            return "all pixels with a measurement"
        (top, bottom), (left, right) = self.rows, self.columns
        if self.in_pixels:
            return f"rows {top:.0f} to {bottom:.0f} and columns {left:.0f} to {right:.0f}, whatever the image's size"
        return f"rows {top:.3f} to {bottom:.3f} of the height and columns {left:.3f} to {right:.3f} of the width"


_NYU_WINDOW: dict[str, Any] = {"rows": (45, 471), "columns": (41, 601)}  # of 480 x 640 pixels

PROTOCOLS: dict[str, Protocol] = {
    each.name: each
    for each in (
        Protocol(
            name="kitti_garg", max_depth=80.0, rows=(0.40810811, 0.99189189), columns=(0.03594771, 0.96405229),
            source="KITTI, Eigen split, crop of Garg et al. (2016) after the KITTI benchmark crop",
        ),
        Protocol(
            name="kitti_eigen", max_depth=80.0, rows=(0.3324324, 0.91351351), columns=(0.0359477, 0.96405229),
            source="KITTI, Eigen split, crop of Eigen et al. (2014) after the KITTI benchmark crop",
        ),
        Protocol(
            name="nyu", max_depth=10.0, rows=(45 / 480, 471 / 480), columns=(41 / 640, 601 / 640),
            source="NYU-Depth V2, Eigen's window of the 480 x 640 picture",
        ),
        Protocol(
            name="sunrgbd", max_depth=10.0, **_NYU_WINDOW, in_pixels=True,
            source="SUN RGB-D, NYU's window in pixels",
        ),
        Protocol(name="indoor", max_depth=10.0, source="every measured pixel, indoor range"),
        Protocol(name="outdoor", max_depth=80.0, source="every measured pixel, outdoor range"),
    )
}  # fmt: skip
"""By name, as in ``EvalConfig.protocol``."""


def protocol_named(name: str | None) -> Protocol:
    """Return the protocol that ``EvalConfig.protocol`` names.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"evaluation.protocol must be one of {', '.join(PROTOCOLS)}; got {name!r}")
    return PROTOCOLS[name]
