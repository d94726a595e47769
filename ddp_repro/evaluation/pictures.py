"""Prediction maps as picture files."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ddp_repro.data.io import read_image


def pixels_of(image: Path | np.ndarray) -> np.ndarray:
    """Return a picture that is given as a file, or as its pixels, uint8 (H, W, 3).

    Raises:
        DataError: the file cannot be read.
    """
    return read_image(image) if isinstance(image, Path) else image


def name_of(image: Path | np.ndarray, name: str | None) -> str:
    """Return what the files of a picture are called: ``name``, else as the picture's file without its suffix.

    Raises:
        ValueError: pixels, which have no name, without one.
    """
    if name is None and not isinstance(image, Path):
        raise ValueError("pixels have no name; give one")
    return name or cast(Path, image).stem


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
