"""How much a prediction changes from frame to frame where the picture does not: one noise for a clip, or one per frame.

A pixel is static from a frame to the next if its neighbourhood of 5×5 pixels, averaged, keeps its colour within
:data:`TOLERANCE` of 255 levels in every channel.  What changes there is the model's doing: labels (a share of the
static pixels), depth in metres (mean of its relative change), or another map's value (mean absolute change).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from ddp_repro.evaluation.predict import PicturePredictor
from ddp_repro.settings.errors import ConfigError

TOLERANCE = 2.0  # levels of 255
NEIGHBOURHOOD = (5, 5)


CHANGES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "share of labels that change": lambda old, new: old != new,
    "mean relative change": lambda old, new: np.abs(new - old) / old,
    "mean absolute change": lambda old, new: np.abs(new - old),
}


@dataclass(frozen=True, kw_only=True)
class Flicker:
    """What changes on static pixels.

    Attributes:
        unit: of the two values, of the map of this name: ``share of labels that change``; ``mean relative change``, of
            the value in the frame before, where a prediction says that its values have a true zero (``ratio_scale``);
            else ``mean absolute change``.
        one_noise, noise_per_frame: mean over the pairs of frames, weighted by their static pixels.
        pairs: of consecutive frames.
        static: share of the pixels that are static.
    """

    map: str
    unit: str
    one_noise: float
    noise_per_frame: float
    pairs: int
    static: float


def measure_flicker(predictor: PicturePredictor, frames: Iterable[np.ndarray]) -> Flicker:
    """Predict consecutive frames, uint8 (H, W, 3) of one size, with one noise for all and with one for each.

    Raises:
        ConfigError: fewer than two frames, frames of several sizes, or no static pixel.
    """
    changes, static, pixels, pairs = np.zeros(2), 0, 0, 0
    name, unit, before = "", "", None
    for number, frame in enumerate(frames):
        predictions = [
            asked.predict([frame])[0] for asked in (predictor, replace(predictor, seed=predictor.seed + number))
        ]
        name = next(iter(predictions[0].arrays))
        maps = [prediction.arrays[name] for prediction in predictions]
        unit = _unit(predictions[0], maps[0])
        if before is not None:
            if before[0].shape != frame.shape:
                raise ConfigError(f"frames of {before[0].shape} and {frame.shape}: expected a clip of one size")
            still = static_pixels(before[0], frame)
            for index, (old, new) in enumerate(zip(before[1], maps, strict=True)):
                changes[index] += CHANGES[unit](old[still], new[still]).sum(dtype=np.float64)
            static, pixels, pairs = static + int(still.sum()), pixels + still.size, pairs + 1
        before = frame, maps
    if not static:
        raise ConfigError("expected at least two frames that have a pixel of equal colour")
    one, several = (float(value) for value in changes / static)
    return Flicker(map=name, unit=unit, one_noise=one, noise_per_frame=several, pairs=pairs, static=static / pixels)


def _unit(prediction: Any, values: np.ndarray) -> str:
    """Return what change of a prediction's map is measured, a key of :data:`CHANGES`."""
    labels, relative, absolute = CHANGES
    if values.dtype.kind in "iu":
        return labels
    return relative if getattr(prediction, "ratio_scale", False) else absolute


def static_pixels(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return which pixels of two frames, uint8 (H, W, 3), have kept their colour, bool (H, W)."""
    smooth = [cv2.blur(frame.astype(np.float32), NEIGHBOURHOOD) for frame in (before, after)]
    return np.abs(smooth[0] - smooth[1]).max(2) <= TOLERANCE
