"""Affine-invariant maps as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ddp_repro.evaluation.pictures import save_pictures, sixteen_bit
from ddp_repro.tasks.affine_depth.predict import AffineDepthPrediction


def save_maps(prediction: AffineDepthPrediction, pixels: np.ndarray, folder: Path, name: str) -> list[Path]:
    """Write the map as 16-bit PNG (0 to 65535 for 0 to 1), as coloured preview, and as float ``.npy``.

    The PNG files say inside, as text, that the values are affine-invariant, and of what.

    Raises:
        OSError: the folder cannot be written.
    """
    space = prediction.space
    colours = Image.fromarray(prediction.preview())
    pictures = {space: sixteen_bit(prediction.values.clip(0, 1)), f"{space}_colour": colours}
    if prediction.uncertainty is not None:
        pictures["uncertainty"] = sixteen_bit(prediction.uncertainty.clip(0, 1))
    paths = save_pictures(
        pictures, name, folder, meaning=f"affine-invariant {space}, unknown scale and shift", range="0..1"
    )
    array = folder / f"{name}_{space}.npy"
    np.save(array, prediction.values.astype(np.float32))
    return [*paths, array]
