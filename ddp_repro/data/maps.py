"""Reading truths that are pictures themselves: masks and mattes in grey, normals in colours; and pairs with them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ddp_repro.data import transforms
from ddp_repro.data.dataset import PairDataset
from ddp_repro.data.io import SHORTEST_NORMAL, DataError


def read_opacity(path: Path) -> np.ndarray:
    """Read a mask or an alpha matte.

    Returns:
        float32 (H, W) in [0, 1].

    Raises:
        DataError: missing, damaged, or with colours that differ (a picture, and no matte).
    """
    stored = _read(path, "a grey PNG of 8 or 16 bits")
    if stored.ndim == 3:
        grey = stored[..., 0]
        if (stored[..., :3] != grey[..., None]).any():
            raise DataError(f"{path}: has colours; expected a grey mask or matte")
        stored = grey
    return stored.astype(np.float32) / np.iinfo(stored.dtype).max


def read_normals(path: Path) -> np.ndarray:
    """Read surface normals stored as colours: (n + 1) / 2 of the full range, black where there is none.

    Returns:
        float32 (H, W, 3), unit vectors, or 0 where there is none.

    Raises:
        DataError: missing, damaged, grey, or vectors that are no normals.
    """
    stored = _read(path, "an RGB PNG of 8 or 16 bits")
    if stored.ndim != 3 or stored.shape[2] != 3:
        raise DataError(f"{path}: has no three channels; expected normals as an RGB PNG")
    valid = stored.any(axis=2)
    vectors = stored[..., ::-1].astype(np.float32) / np.iinfo(stored.dtype).max * 2 - 1
    length = np.linalg.norm(vectors, axis=2)
    wrong = valid & ((length < SHORTEST_NORMAL) | (length > 2 - SHORTEST_NORMAL))
    if wrong.any():
        raise DataError(f"{path}: {wrong.sum()} of its vectors are not of unit length; expected (n + 1) / 2 as colours")
    return np.where(valid[..., None], vectors / np.where(valid, length, 1)[..., None], 0).astype(np.float32)


def _read(path: Path, expected: str) -> np.ndarray:
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected {expected}")
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path}: cannot be decoded; expected {expected}")
    return stored


class ResizedPairs(PairDataset):
    """Pairs that training shows whole, resized to ``data.crop_size``, and mirrored half the time."""

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read one picture, uint8 (H, W, 3), and its truth, at the size that they have.

        Raises:
            DataError: a damaged file, or sizes that differ.
        """
        return self._read(index)

    def _augment(self, image: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        size = self.data.crop_size
        image, truth = transforms.resize_image(image, size), self._resize_truth(truth, size)
        return self._mirror(image, truth) if rng.random() < 0.5 else (image, truth)

    def _resize_truth(self, truth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Resize a truth to (height, width)."""
        return transforms.resize_image(truth, size)

    def _mirror(self, image: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mirror a pair, left and right."""
        return image[:, ::-1], truth[:, ::-1]
