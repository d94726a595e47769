"""Class maps as picture files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ddp_repro.data.io import read_image
from ddp_repro.evaluation.pictures import save_pictures
from ddp_repro.tasks.segmentation.predict import Prediction

OPACITY = 0.55  # of the class colours over the picture


def save_prediction(
    prediction: Prediction,
    image: Path,
    palette: Sequence[tuple[int, int, int]],
    folder: Path,
    name: str | None = None,
) -> list[Path]:
    """Write three PNG files; returns their paths.

    ``_labels`` holds class ids with a palette (a viewer shows colours, a program reads ids), ``_overlay`` the colours
    over the picture, ``_uncertainty`` 8-bit grey: 0 certain, 255 uncertain.

    Args:
        palette: an RGB colour per class.
        name: what the files' names begin with; None: the picture's name without its suffix.

    Raises:
        DataError: the picture cannot be read.
        OSError: the folder cannot be written.
    """
    colors = np.array(palette, np.uint8)
    labels = Image.fromarray(prediction.labels.astype(np.uint8), mode="P")
    labels.putpalette(colors.flatten().tolist())
    blended = (1 - OPACITY) * read_image(image) + OPACITY * colors[prediction.labels]
    pictures = {
        "labels": labels,
        "overlay": Image.fromarray(blended.round().astype(np.uint8)),
        "uncertainty": Image.fromarray((255 * prediction.uncertainty.clip(0, 1)).round().astype(np.uint8)),
    }
    return save_pictures(pictures, name or image.stem, folder)
