"""Class maps as picture files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ddp_repro.evaluation.pictures import save_pictures
from ddp_repro.tasks.segmentation.predict import Prediction

OPACITY = 0.55  # of the class colours over the picture


def save_prediction(
    prediction: Prediction,
    pixels: np.ndarray,
    palette: Sequence[tuple[int, int, int]],
    folder: Path,
    name: str,
) -> list[Path]:
    """Write PNG files; returns their paths.

    ``_labels`` holds class ids with a palette (a viewer shows colours, a program reads ids), ``_overlay`` the colours
    over the picture, ``_uncertainty`` 8-bit grey: 0 certain, 255 uncertain; of several steps, ``_change_count`` (the
    paper's map) the same, and of several noise samples ``_disagreement``.  Of a model that refines another's
    prediction, ``_base`` holds that one's ids, and ``_changed`` is 255 where the two differ.

    Args:
        palette: an RGB colour per class.
        pixels: of the picture, uint8 (H, W, 3).
        name: what the files' names begin with.

    Raises:
        OSError: the folder cannot be written.
    """
    colors = np.array(palette, np.uint8)
    pictures = {
        "labels": _palette_picture(prediction.labels, colors),
        "overlay": Image.fromarray(cv2.addWeighted(pixels, 1 - OPACITY, colors[prediction.labels], OPACITY, 0)),
        "uncertainty": _grey_picture(prediction.uncertainty),
    }
    if prediction.change_count is not None:
        pictures["change_count"] = _grey_picture(prediction.change_count)
    if prediction.disagreement is not None:
        pictures["disagreement"] = _grey_picture(prediction.disagreement)
    if prediction.base is not None:
        pictures["base"] = _palette_picture(prediction.base, colors)
        pictures["changed"] = _grey_picture(prediction.base != prediction.labels)
    return save_pictures(pictures, name, folder)


def _palette_picture(labels: np.ndarray, colors: np.ndarray) -> Image.Image:
    picture = Image.fromarray(labels.astype(np.uint8), mode="P")
    picture.putpalette(colors.flatten().tolist())
    return picture


def _grey_picture(shares: np.ndarray) -> Image.Image:
    return Image.fromarray((255 * shares.astype(np.float32).clip(0, 1)).round().astype(np.uint8))
