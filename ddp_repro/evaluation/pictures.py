"""Prediction maps as picture files and arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo


def save_pictures(pictures: dict[str, Image.Image], name: str, folder: Path, **facts: str) -> list[Path]:
    """Write ``<name>_<kind>.png`` of every kind, with the facts inside as text; returns their paths.

    Raises:
        OSError: the folder cannot be written.
    """
    inside = PngInfo()
    for key, text in facts.items():
        inside.add_text(key, text)
    paths = {kind: folder / f"{name}_{kind}.png" for kind in pictures}
    for kind, picture in pictures.items():
        paths[kind].parent.mkdir(parents=True, exist_ok=True)
        picture.save(paths[kind], pnginfo=inside)
    return list(paths.values())


def sixteen_bit(values: np.ndarray) -> Image.Image:
    """Return a map in [0, 1], (H, W), as a grey picture of 16 bits."""
    return Image.fromarray((values * 65535).round().astype(np.uint16))


def save_arrays(prediction: Any, folder: Path, name: str) -> list[Path]:
    """Write the maps as NumPy files of the picture's size; returns their paths.

    ``_labels`` holds uint8 class ids (uint16 beyond 256 classes), the others float32: ``_depth`` metres;
    ``_uncertainty`` is in [0, 1], metres or degrees, where there is one.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in prediction.arrays.items():
        np.save(folder / f"{name}_{kind}.npy", array)
    return [folder / f"{name}_{kind}.npy" for kind in prediction.arrays]
