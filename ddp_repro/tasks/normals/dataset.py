"""The dataset of surface normals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ddp_repro.data.dataset import require_equal_sizes
from ddp_repro.data.io import DataError, read_image
from ddp_repro.data.maps import ResizedPairs, read_normals
from ddp_repro.data.spec import Sample
from ddp_repro.data.transforms import resize_label
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.normals.datasets.dsine import NYU_NORMALS, SCANNET_NORMALS, SINTEL_NORMALS, NormalsSpec

SPECS: dict[str, NormalsSpec] = {spec.name: spec for spec in (NYU_NORMALS, SCANNET_NORMALS, SINTEL_NORMALS)}
NAMES = tuple(SPECS)


class NormalsDataset(ResizedPairs):
    """Pictures with unit normals on axes right, down, ahead; (0, 0, 0) where there is none."""

    truth = "normals"  # float32 (3, H, W) in items
    padding = 0

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read one picture, uint8 (H, W, 3), and its normals, float32 (3, H, W).

        Raises:
            DataError: a damaged file, sizes that differ, or no normal at all.
        """
        image, normals = self._read(index)
        if not normals.any():
            raise DataError(f"{self.samples[index].label}: holds no normal to evaluate against")
        return image, np.ascontiguousarray(normals.transpose(2, 0, 1))

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return read_pair(self.samples[index])

    def _resize_truth(self, truth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        return resize_label(truth, size)  # a mean of two normals is the normal of nothing

    def _mirror(self, image: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return image[:, ::-1], truth[:, ::-1] * np.array([-1, 1, 1], np.float32)

    def _item(self, index: int, image: np.ndarray, truth: np.ndarray) -> dict[str, torch.Tensor | str]:
        return super()._item(index, image, np.ascontiguousarray(truth.transpose(2, 0, 1)))


def read_pair(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Read a picture and its normals, float32 (H, W, 3).

    Raises:
        DataError: a missing or damaged file, vectors that are no normals, or sizes that differ.
    """
    assert sample.label is not None
    image, normals = read_image(sample.image), read_normals(sample.label)
    require_equal_sizes(image, normals, sample)
    return image, normals


def dataset_spec(data: DataConfig, root: Path) -> NormalsSpec:
    """Return the description of a dataset.

    Raises:
        DataError: no such dataset.
    """
    if data.dataset not in SPECS:
        raise DataError(f"unknown dataset of normals {data.dataset!r}; expected one of {', '.join(SPECS)}")
    return SPECS[data.dataset]
