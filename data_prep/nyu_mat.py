"""Pictures and depth out of ``nyu_depth_v2_labeled.mat``, as BTS and its successors extract them.

The file is MATLAB 7.3, that is HDF5, whose axes appear in reverse: images (N, 3, 640, 480), rawDepths (N, 640, 480).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from ddp_repro.data.io import DataError
from ddp_repro.data.spec import Sample

KEYS = ("images", "rawDepths", "sceneTypes")
FRAME = (slice(7, 474), slice(7, 632))  # outside, the rectified pictures have a white border: painted black


def extract_pictures(mat: Path, samples: list[Sample]) -> None:
    """Write the picture (JPEG) and the depth map (uint16, mm) of each sample.

    A sample's number, ``rgb_NUMBER``, is its index in the file; its folder is its scene's type.

    Raises:
        DataError: h5py is not installed, or the file is not the official one.
    """
    try:
        import h5py
    except ImportError as error:
        advice = "install it (pip install h5py), or pass --test FOLDER with the pictures extracted elsewhere"
        raise DataError(f"{mat}: reading it needs the package h5py; {advice}") from error
    try:
        file = h5py.File(mat, "r")
    except OSError as error:
        raise DataError(f"{mat}: is not HDF5 ({error}); expected the official nyu_depth_v2_labeled.mat") from error
    with file:
        write_pictures(file, mat, samples)


def write_pictures(file: Mapping[Any, Any], mat: Path, samples: list[Sample]) -> None:
    """As :func:`extract_pictures`, from the opened file."""
    missing = [key for key in KEYS if key not in file]
    if missing:
        raise DataError(f"{mat}: has no {', '.join(missing)}; expected the official file with {', '.join(KEYS)}")
    images, depths, scenes = (file[key] for key in KEYS)
    shapes = images.shape[1:], depths.shape[1:], (scenes.size,)
    if shapes != ((3, 640, 480), (640, 480), (len(images),)) or len(images) != len(depths):
        got = f"images {images.shape}, rawDepths {depths.shape}, sceneTypes {scenes.shape}"
        raise DataError(f"{mat}: holds {got}; expected N x 3 x 640 x 480, N x 640 x 480 and N")
    references = np.ravel(scenes[()])
    for sample in tqdm(samples, desc=mat.name, delay=2, leave=False, disable=None):
        index = int(sample.image.stem.removeprefix("rgb_"))
        if index >= len(images):
            raise DataError(f"{mat}: has {len(images)} pictures; expected one with index {index}")
        scene = "".join(chr(code) for code in np.ravel(file[references[index]]))
        if scene != sample.image.parent.name:
            raise DataError(f"{mat}: picture {index} is of a {scene}; expected a {sample.image.parent.name}")
        _write(sample, images[index].T, depths[index].T, mat)


def _write(sample: Sample, image: np.ndarray, depth: np.ndarray, mat: Path) -> None:
    if not np.isfinite(depth).all() or depth.min() < 0 or depth.max() > 65.535:
        raise DataError(f"{mat}: depth of {sample.id} is not a number of 0 to 65.535 m everywhere")
    framed = np.zeros_like(image)
    framed[FRAME] = image[FRAME]
    sample.image.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(sample.image), framed[..., ::-1])
    cv2.imwrite(str(sample.label), (depth * 1000.0).astype(np.uint16))
