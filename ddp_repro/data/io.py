"""Reading picture, label and depth files: an accepted encoding ends in one form, everything else in a clear error."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps

# What Pillow raises on damaged files, depending on the format and on where the damage is.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

# Grey PNGs of 2 and 4 bits are stretched to 0..255 by Pillow; label ids need the stored values back.
_GREY_STRETCH = {"L;2": 85, "L;4": 17}

SHORTEST_NORMAL = 0.5  # of a stored vector that is a normal and not a gap


class DataError(ValueError):
    """A dataset file or folder that is missing, damaged or not as its layout promises."""


def read_image(path: Path) -> np.ndarray:
    """Read a picture as 8-bit RGB, upright.

    Greyscale and palette pictures are expanded, transparency is dropped, 16-bit greyscale is scaled by 255/65535,
    and the EXIF orientation of a JPEG is applied.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        DataError: the file is missing, damaged, or of a kind with no agreed meaning as a picture (e.g. float TIFF).
    """
    expected = "a complete 8- or 16-bit JPEG or PNG picture"
    with _open(path, expected) as picture:
        try:
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I"):
                return np.repeat(_to_8_bit(np.asarray(upright), path)[:, :, None], 3, axis=2)
            if upright.mode == "F":
                raise DataError(f"{path}: pixels are floating-point numbers; expected {expected}")
            return np.array(upright.convert("RGB"))
        except DataError:
            raise
        except _DAMAGE as error:
            raise DataError(f"{path}: cannot be decoded ({error}); expected {expected}") from error


def read_label(path: Path) -> np.ndarray:
    """Read a label map's stored ids.

    Greyscale (1 to 16 bits) and palette PNGs hold ids directly; a palette's colours are not looked at.

    Returns:
        integer (H, W), the ids as stored (dtype as in the file).

    Raises:
        DataError: the file is missing or damaged, or has colour channels instead of ids.
    """
    expected = "a complete single-channel PNG of label ids"
    with _open(path, expected) as picture:
        try:
            stored = picture.tile[0].args if picture.tile else None
            ids = np.array(picture)
        except _DAMAGE as error:
            raise DataError(f"{path}: cannot be decoded ({error}); expected {expected}") from error
        if ids.ndim != 2 or picture.mode == "F":
            raise DataError(f"{path}: has mode {picture.mode}, not label ids; expected {expected}")
    if ids.dtype == bool:
        return ids.astype(np.uint8)
    return ids // _GREY_STRETCH.get(stored if isinstance(stored, str) else "", 1)


def read_depth(path: Path) -> np.ndarray:
    """Read a depth map's stored values, all 16 bits of them.

    Returns:
        uint16 (H, W), in the dataset's own unit; 0 where nothing was measured.

    Raises:
        DataError: the file is missing or damaged, or anything but a greyscale PNG of 16 bits.
    """
    expected = "a complete greyscale PNG of 16 bits"
    with _open(path, expected) as picture:
        # 8 bits are a preview, not depth; floating-point formats have other units and NaN. Neither is guessed at.
        if picture.format != "PNG" or not picture.mode.startswith("I"):
            raise DataError(f"{path}: is a {picture.format} of mode {picture.mode}; expected {expected}")
        try:
            return np.array(picture).astype(np.uint16)
        except _DAMAGE as error:
            raise DataError(f"{path}: cannot be decoded ({error}); expected {expected}") from error


def read_array(path: Path, expected: str) -> np.ndarray:
    """Read a ``.npy`` file of numbers; nothing in it is executed.

    Raises:
        DataError: the file is missing, damaged, or holds no numbers; ``expected`` is named.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected {expected}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise DataError(f"{path}: holds no array of numbers; expected {expected}")
    return array


def read_settings(path: Path, known: set[str], example: str) -> dict:
    """Read a JSON object with no keys but the ``known`` ones; ``example`` shows a right one in errors.

    Raises:
        DataError: the file is missing or something else.
    """
    return checked_settings(read_json(path, f"a JSON object such as {example}"), path, known, example)


def checked_settings(content: Any, path: Path, known: set[str], example: str) -> dict[str, Any]:
    """Return what was read from ``path`` if it is an object with no keys but the ``known`` ones.

    Raises:
        DataError: it is something else.
    """
    if not isinstance(content, dict) or not set(content) <= known:
        keys = ", ".join(sorted(known))
        raise DataError(f"{path}: expected a JSON object such as {example} with no keys but {keys}")
    return content


def read_json(path: Path, expected: str) -> Any:
    """Read a JSON file.

    Raises:
        DataError: it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from error
    except ValueError as error:
        raise DataError(f"{path}: is not JSON ({error}); expected {expected}") from error


def _open(path: Path, expected: str) -> ImageFile.ImageFile:
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected {expected}")
    try:
        return Image.open(path)
    except _DAMAGE as error:
        raise DataError(f"{path}: cannot be opened ({error}); expected {expected}") from error


def _to_8_bit(grey: np.ndarray, path: Path) -> np.ndarray:
    if grey.min() < 0 or grey.max() > 65535:
        raise DataError(f"{path}: grey values {grey.min()}..{grey.max()}; expected at most 16 bits (0..65535)")
    return ((grey.astype(np.int64) * 255 + 32767) // 65535).astype(np.uint8)
