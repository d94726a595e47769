"""A user's own images and masks.

::

    ROOT/classes.json          {"names": [...], "palette": [[r, g, b], ...], "ignore_index": 255}
    ROOT/images/<split>/*      pictures (JPEG, PNG, BMP, TIFF or WebP)
    ROOT/masks/<split>/*.png   label maps of the same names: ids 0 ... K-1 in the order of "names", or ignore_index
    ROOT/splits/<split>.txt    optional: the names to use, one per line, with or without suffix

``palette`` and ``ignore_index`` may be left out; a list of names alone, ``["road", "car"]``, is accepted too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ddp_repro.data.io import DataError, checked_settings, read_json
from ddp_repro.data.spec import IGNORE, Color, DatasetSpec, Sample, list_files, pair_by_stem

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def folder_spec(root: Path) -> DatasetSpec:
    """Read ``classes.json``.

    Raises:
        DataError: it is missing or not as described above.
    """
    path = root / "classes.json"
    settings = _read_classes(path)
    names = _checked_names(settings.get("names"), path)
    ignore = settings.get("ignore_index", IGNORE)
    if not isinstance(ignore, int) or isinstance(ignore, bool) or not len(names) <= ignore <= 65535:
        raise DataError(f"{path}: ignore_index is {ignore!r}; expected a number of {len(names)}..65535, no class's id")
    return DatasetSpec(
        name="folder",
        class_names=names,
        palette=_checked_palette(settings.get("palette"), len(names), path),
        label_ids={**{i: i for i in range(len(names))}, ignore: IGNORE},
        list_samples=list_samples,
        layout="images/<split>/NAME.jpg (or another format) and masks/<split>/NAME.png",
        described_in=path,
    )


def _read_classes(path: Path) -> dict[str, Any]:
    example = '{"names": ["road", "car"]}'
    content = read_json(path, f"a JSON object such as {example}")
    if isinstance(content, list):
        return {"names": content}
    return checked_settings(content, path, {"names", "palette", "ignore_index"}, example)


def list_samples(root: Path, split: str) -> list[Sample]:
    """List the images of a split, or those that ``splits/<split>.txt`` names; the id is the name without suffix."""
    folder = root / "images" / split
    images = list_files(folder, IMAGE_SUFFIXES)
    names_file = root / "splits" / f"{split}.txt"
    if names_file.exists():
        images = _select(images, names_file, folder)
    return pair_by_stem(images, root / "masks" / split)


def _checked_names(names: object, path: Path) -> tuple[str, ...]:
    given = names if isinstance(names, list) and all(isinstance(name, str) and name for name in names) else []
    if not 1 <= len(set(given)) == len(given) <= IGNORE:
        raise DataError(f'{path}: "names" must be a list of 1 to {IGNORE} different class names')
    return tuple(given)


def _checked_palette(palette: object, classes: int, path: Path) -> tuple[Color, ...]:
    if palette is None:
        return tuple(_default_color(i) for i in range(classes))
    rows = palette if isinstance(palette, list) else []
    if len(rows) != classes or not all(map(_is_color, rows)):
        raise DataError(f'{path}: "palette" must hold one [red, green, blue] of 0..255 for each of the {classes} names')
    return tuple((r, g, b) for r, g, b in rows)


def _is_color(row: object) -> bool:
    return isinstance(row, list) and len(row) == 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in row)


def _default_color(index: int) -> Color:
    """PASCAL VOC's colour map, shifted by one: deal the index's bits to the channels, high bits first."""
    value, color = index + 1, [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            color[channel] |= ((value >> (3 * bit + channel)) & 1) << (7 - bit)
    return color[0], color[1], color[2]


def _select(images: list[Path], names_file: Path, folder: Path) -> list[Path]:
    try:
        lines = names_file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{names_file}: cannot be read ({error}); expected UTF-8, one name per line") from error
    names = [line.strip() for line in lines if line.strip()]
    by_name = {key: image for image in images for key in (image.stem, image.name)}
    missing = [name for name in names if name not in by_name]
    if missing:
        count = f"{len(missing)} of {len(names)} missing"
        raise DataError(f"{names_file}: names {missing[0]!r}, which is not in {folder} ({count})")
    if not names or len(set(names)) != len(names):
        raise DataError(f"{names_file}: expected one or more names, each listed once")
    return [by_name[name] for name in names]
