"""Normals as files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ddp_repro.evaluation.pictures import save_pictures
from ddp_repro.tasks.normals.predict import SHOWN_AXES, NormalsPrediction


def save_normals(prediction: NormalsPrediction, pixels: np.ndarray, folder: Path, name: str) -> list[Path]:
    """Write the normals as 16-bit RGB PNG, a coloured preview, and float ``.npy`` (H, W, 3).

    ``_normals`` holds (n + 1) / 2 of 65535 on axes right, down, ahead; ``_normals_colour`` 8 bits on axes right, up,
    back, which most viewers expect; ``_normals.npy`` the vectors themselves.

    Raises:
        OSError: the folder cannot be written.
    """
    facts = {"meaning": "surface normals out of the surface", "axes": SHOWN_AXES}
    paths = save_pictures({"normals_colour": Image.fromarray(prediction.preview())}, name, folder, **facts)
    stored, array = folder / f"{name}_normals.png", folder / f"{name}_normals.npy"
    sixteen_bit = ((prediction.normals + 1) / 2 * 65535).round().clip(0, 65535).astype(np.uint16)
    if not cv2.imwrite(str(stored), sixteen_bit[..., ::-1]):  # Pillow has no 16-bit colours
        raise OSError(f"{stored}: cannot be written")
    np.save(array, prediction.normals.astype(np.float32))
    return [stored, *paths, array]
