"""A prediction as picture files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ddp_repro.data.io import read_image
from ddp_repro.evaluation.predict import DepthPrediction, Prediction

OPACITY = 0.55  # of the class colours over the picture
DEPTH_COLOURS = "magma_r"  # near is bright
DEPTH_SCALES = (1000, 256)  # stored units per metre: millimetres, or KITTI's where they would not fit into 16 bits
LARGEST = 2**16 - 1


def save_prediction(
    prediction: Prediction,
    image: Path,
    palette: Sequence[tuple[int, int, int]],
    folder: Path,
    name: str | None = None,
) -> list[Path]:
    """Write three PNG files; returns their paths.

    ``_labels`` holds class ids with a palette (a viewer shows colours, a program reads ids), ``_overlay`` the colours
    over the picture, ``_uncertainty`` 8-bit grey: 0 certain, 255 uncertain.

    Args:
        palette: an RGB colour per class.
        name: what the files' names begin with; None: the picture's name without its suffix.

    Raises:
        DataError: the picture cannot be read.
        OSError: the folder cannot be written.
    """
    colors = np.array(palette, np.uint8)
    labels = Image.fromarray(prediction.labels.astype(np.uint8), mode="P")
    labels.putpalette(colors.flatten().tolist())
    blended = (1 - OPACITY) * read_image(image) + OPACITY * colors[prediction.labels]
    pictures = {
        "labels": labels,
        "overlay": Image.fromarray(blended.round().astype(np.uint8)),
        "uncertainty": Image.fromarray((255 * prediction.uncertainty.clip(0, 1)).round().astype(np.uint8)),
    }
    return _save(pictures, name or image.stem, folder)


def save_depth(
    prediction: DepthPrediction, image: Path, max_depth: float, folder: Path, name: str | None = None
) -> list[Path]:
    """Write up to three PNG files of the picture's size and upright; returns their paths.

    ``_depth`` holds 16-bit units of 1/``depth_scale`` metres (the number is inside the file, as text),
    ``_depth_colour`` a preview from the nearest (bright) to the farthest point, ``_uncertainty`` 16-bit units of the
    same kind, if there is an uncertainty.

    Args:
        max_depth: the model's range in metres, which decides the scale: 1000, or 256 beyond 65 m, or what fits.
        name: as of :func:`save_prediction`.

    Raises:
        OSError: the folder cannot be written.
    """
    import matplotlib

    scale = next((scale for scale in DEPTH_SCALES if max_depth * scale <= LARGEST), int(LARGEST / max_depth))
    near, far = float(prediction.depth.min()), float(prediction.depth.max())
    relative = (prediction.depth - near) / max(far - near, 1e-6)
    colours = matplotlib.colormaps[DEPTH_COLOURS](relative, bytes=True)[..., :3]
    pictures = {"depth": _to_16_bit(prediction.depth, scale), "depth_colour": Image.fromarray(colours)}
    if prediction.uncertainty is not None:
        pictures["uncertainty"] = _to_16_bit(prediction.uncertainty, scale)
    facts = {"depth_scale": str(scale), "nearest_m": f"{near:.3f}", "farthest_m": f"{far:.3f}"}
    return _save(pictures, name or image.stem, folder, **facts)


def _to_16_bit(metres: np.ndarray, scale: int) -> Image.Image:
    return Image.fromarray((metres * scale).round().clip(0, LARGEST).astype(np.uint16))


def _save(pictures: dict[str, Image.Image], name: str, folder: Path, **facts: str) -> list[Path]:
    inside = PngInfo()
    for key, text in facts.items():
        inside.add_text(key, text)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {kind: folder / f"{name}_{kind}.png" for kind in pictures}
    for kind, picture in pictures.items():
        picture.save(paths[kind], pnginfo=inside)
    return list(paths.values())
