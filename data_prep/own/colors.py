"""Masks of colours: which they are, and what their colours mean by the palette of ``classes.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ddp_repro.data.io import DataError, read_json
from ddp_repro.data.spec import Color
from ddp_repro.tasks.segmentation.datasets.folder import folder_spec

_SHOWN = 5


def is_colored(path: Path) -> bool:
    """Return whether a mask holds colours rather than ids."""
    try:
        with Image.open(path) as picture:
            return picture.mode in ("RGB", "RGBA")
    except (OSError, UnidentifiedImageError):
        return False


def read_palette(root: Path) -> tuple[Color, ...]:
    """Return the colour of every class.

    Raises:
        DataError: ``classes.json`` is not as it must be, has no palette, or gives one colour to two classes.
    """
    spec, path = folder_spec(root), root / "classes.json"
    content = read_json(path, "a JSON object")
    if not isinstance(content, dict) or content.get("palette") is None:
        raise DataError(f'{path}: has no "palette"; expected one [red, green, blue] for each of its names')
    if len(set(spec.palette)) < len(spec.palette):
        raise DataError(f'{path}: "palette" holds a colour twice; expected a different one for each class')
    return spec.palette


def translate(mask: np.ndarray, palette: tuple[Color, ...], ignore: int) -> tuple[np.ndarray, Counter[Color]]:
    """Translate colours (H, W, 3) uint8 into ids.

    Returns:
        uint16 (H, W), the number of each colour in the palette, ``ignore`` where it is not there; and the pixels of
        every colour that is not there.
    """
    codes = mask.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    colors, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
    numbers = {(r << 16) | (g << 8) | b: number for number, (r, g, b) in enumerate(palette)}
    ids = np.array([numbers.get(code, ignore) for code in colors.tolist()], np.uint16)
    strange = Counter({
        (code >> 16, code >> 8 & 255, code & 255): count
        for code, count in zip(colors.tolist(), counts.tolist(), strict=True) if code not in numbers
    })  # fmt: skip
    return ids[places.reshape(codes.shape)], strange


def describe(colors: Mapping[Color, int]) -> str:
    """Return the most frequent colours with their pixels, in words."""
    words = [f"[{r}, {g}, {b}] ({count} pixels)" for (r, g, b), count in Counter(colors).most_common(_SHOWN)]
    return ", ".join(words) + (f" and {len(colors) - _SHOWN} rarer ones" if len(colors) > _SHOWN else "")
