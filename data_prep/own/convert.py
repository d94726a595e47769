"""Masks of colours as masks of ids, by the palette of ``classes.json``."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from data_prep.files import place
from data_prep.own.check import is_colored
from ddp_repro.data.io import DataError, read_image, read_json
from ddp_repro.data.spec import IGNORE, Color, list_files, list_folders
from ddp_repro.tasks.segmentation.datasets.folder import folder_spec

ORIGINALS = "masks_rgb"  # where the masks of colours are kept
_SHOWN = 5


def convert_masks(root: Path) -> list[Path]:
    """Replace every RGB mask by one of ids; the originals are kept in ``masks_rgb/``.

    Nothing is changed unless every colour of every mask is a class's.

    Returns:
        The masks that were replaced; none where all hold ids already.

    Raises:
        DataError: no palette, two classes of one colour, or a colour that is no class's; names the file.
        OSError: the folder cannot be written.
    """
    palette = _palette(root)
    splits = list_folders(root / "masks")
    colored = [path for split in splits for path in list_files(split, (".png",)) if is_colored(path)]
    for path in colored:  # all of them before the first is replaced
        ids_of(read_image(path), palette, path)
    for path in colored:
        _replace(path, ids_of(read_image(path), palette, path), root)
    return colored


def ids_of(mask: np.ndarray, palette: tuple[Color, ...], path: Path) -> np.ndarray:
    """Translate colours (H, W, 3) uint8.

    Returns:
        uint8 (H, W), the number of each colour in the palette.

    Raises:
        DataError: a colour that is not there; names it.
    """
    codes = _codes(mask)
    ids = np.full(codes.shape, IGNORE, np.uint8)
    known = np.zeros(codes.shape, bool)
    for number, color in enumerate(palette):
        here = codes == _codes(np.array(color, np.uint8))
        ids[here], known = number, known | here
    if not known.all():
        strange = np.unique(mask[~known], axis=0)
        words = ", ".join(str(color.tolist()) for color in strange[:_SHOWN])
        more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
        raise DataError(f"{path}: has the colours {words}{more}, which no class has; nothing was changed")
    return ids


def _palette(root: Path) -> tuple[Color, ...]:
    spec, path = folder_spec(root), root / "classes.json"
    content = read_json(path, "a JSON object")
    if not isinstance(content, dict) or content.get("palette") is None:
        raise DataError(f'{path}: has no "palette"; expected one [red, green, blue] for each of its names')
    if len(set(spec.palette)) < len(spec.palette):
        raise DataError(f'{path}: "palette" holds a colour twice; expected a different one for each class')
    return spec.palette


def _codes(colors: np.ndarray) -> np.ndarray:
    """One number a colour."""
    return colors.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)


def _replace(path: Path, ids: np.ndarray, root: Path) -> None:
    kept = root / ORIGINALS / path.relative_to(root / "masks")
    if not kept.exists():
        place(path, kept)
    temporary = path.with_name(f".{path.name}.partial")
    Image.fromarray(ids).save(temporary, format="PNG")
    os.replace(temporary, path)
