"""Depth maps as picture files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ddp_repro.evaluation.pictures import save_pictures
from ddp_repro.tasks.depth.predict import DepthPrediction

DEPTH_SCALES = (1000, 256)  # stored units per metre: millimetres, or KITTI's where they would not fit into 16 bits
LARGEST = 2**16 - 1


def save_depth(prediction: DepthPrediction, max_depth: float, folder: Path, name: str) -> list[Path]:
    """Write up to four PNG files of the picture's size and upright; returns their paths.

    ``_depth`` holds 16-bit units of 1/``depth_scale`` metres (the number is inside the file, as text),
    ``_depth_colour`` a preview from the nearest (bright) to the farthest point, ``_uncertainty`` and
    ``_error_bound`` 16-bit units of the same kind, as far as they are known.

    Args:
        max_depth: the model's range in metres, which decides the scale: 1000, or 256 beyond 65 m, or what fits.
        name: what the files' names begin with.

    Raises:
        OSError: the folder cannot be written.
    """
    scale = next((scale for scale in DEPTH_SCALES if max_depth * scale <= LARGEST), int(LARGEST / max_depth))
    near, far = float(prediction.depth.min()), float(prediction.depth.max())
    pictures = {"depth": _to_16_bit(prediction.depth, scale), "depth_colour": Image.fromarray(prediction.preview())}
    pictures |= {kind: _to_16_bit(metres, scale) for kind, metres in prediction.arrays.items() if kind != "depth"}
    return save_pictures(
        pictures, name, folder, depth_scale=str(scale), nearest_m=f"{near:.3f}", farthest_m=f"{far:.3f}"
    )


def _to_16_bit(metres: np.ndarray, scale: int) -> Image.Image:
    return Image.fromarray((metres * scale).round().clip(0, LARGEST).astype(np.uint16))
