"""Normals of Sintel (Butler et al., ECCV 2012) as DSINE's evaluation has them: OpenEXR is turned into 16-bit PNG.

A PNG of 16 bits turns a normal by less than 0.003 degrees.  No file of the set was seen while this was written: the
layout is that which DSINE's evaluation code reads.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data_prep.files import place
from ddp_repro.data.io import SHORTEST_NORMAL, DataError
from ddp_repro.data.spec import list_files, list_folders

COUNTS = {"test": 1064}
URL = SHA1 = None
INSTRUCTIONS = """\
Get DSINE's evaluation data (dsine_eval/sintel) and unpack it; --source is the folder with
  SCENE/NAME_img.png, SCENE/NAME_normal.exr and SCENE/NAME_intrins.npy
(This layout is that which DSINE's code reads; no file of the set was seen while this was written.)"""

PICTURE, NORMALS, INTRINSICS = "_img.png", "_normal.exr", "_intrins.npy"


def convert(source: Path, target: Path) -> None:
    """Put pictures, normals and intrinsics into ``target/test``.

    Raises:
        DataError: there are no pictures, or one has no normals that can be read.
    """
    pictures = [picture for scene in list_folders(source) for picture in list_files(scene, (PICTURE,))]
    if not pictures:
        raise DataError(f"{source}: holds no SCENE/NAME{PICTURE}")
    for picture in tqdm(pictures, desc="Sintel", delay=2, leave=False, disable=None):
        stem = picture.name.removesuffix(PICTURE)
        folder = target / "test" / picture.parent.name
        place(picture, folder / picture.name)
        stored = to_stored(_read(picture.with_name(stem + NORMALS)))
        cv2.imwrite(str(folder / f"{stem}_normal.png"), np.ascontiguousarray(stored[..., ::-1]))
        intrinsics = picture.with_name(stem + INTRINSICS)
        if intrinsics.is_file():
            place(intrinsics, folder / intrinsics.name)


def to_stored(normals: np.ndarray) -> np.ndarray:
    """Return (n + 1) / 2 of the full range, uint16 (H, W, 3); 0 where a vector is no normal."""
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    known = np.isfinite(length) & (length > SHORTEST_NORMAL)
    unit = np.where(known, normals / np.where(known, length, 1), 0)
    return np.where(known, np.round((unit + 1) / 2 * 65535), 0).astype(np.uint16)


def _read(path: Path) -> np.ndarray:
    """Read an OpenEXR file, float32 (H, W, 3), RGB."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected normals as OpenEXR")
    os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"  # OpenCV looks at it when it first meets such a file
    try:
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise DataError(f"{path}: cannot be decoded ({error}); expected normals as OpenEXR") from error
    if values is None or values.ndim != 3 or values.shape[2] != 3 or values.dtype != np.float32:
        raise DataError(f"{path}: cannot be decoded; expected three float32 channels as OpenEXR")
    return values[..., ::-1]
