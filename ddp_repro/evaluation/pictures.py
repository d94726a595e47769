"""Prediction maps as picture files."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo


def save_pictures(pictures: dict[str, Image.Image], image: Path, folder: Path, **facts: str) -> list[Path]:
    """Write ``<picture>_<kind>.png`` of every kind, with the facts inside as text; returns their paths.

    Raises:
        OSError: the folder cannot be written.
    """
    inside = PngInfo()
    for name, text in facts.items():
        inside.add_text(name, text)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {kind: folder / f"{image.stem}_{kind}.png" for kind in pictures}
    for kind, picture in pictures.items():
        picture.save(paths[kind], pnginfo=inside)
    return list(paths.values())
