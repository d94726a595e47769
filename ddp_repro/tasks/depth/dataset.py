"""The depth dataset: one class for all datasets, told apart by their :class:`DepthSpec`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ddp_repro.data import transforms
from ddp_repro.data.dataset import PairDataset, require_equal_sizes
from ddp_repro.data.io import DataError, read_image
from ddp_repro.data.spec import Sample, missing_files, unique, without_label
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.depth.datasets.diode import DIODE
from ddp_repro.tasks.depth.datasets.eth3d import ETH3D
from ddp_repro.tasks.depth.datasets.folder import depth_folder_spec
from ddp_repro.tasks.depth.datasets.hypersim import HYPERSIM
from ddp_repro.tasks.depth.datasets.kitti import KITTI
from ddp_repro.tasks.depth.datasets.kitti_lidar import KITTI_LIDAR
from ddp_repro.tasks.depth.datasets.nyu import NYU
from ddp_repro.tasks.depth.datasets.scannet import SCANNET
from ddp_repro.tasks.depth.datasets.sevenscenes import SEVENSCENES
from ddp_repro.tasks.depth.datasets.spec import DepthSpec
from ddp_repro.tasks.depth.datasets.sunrgbd import SUNRGBD
from ddp_repro.tasks.depth.datasets.vkitti import VKITTI
from ddp_repro.tasks.depth.transforms import random_color, random_crop, random_rotation

DEPTH_SPECS: dict[str, DepthSpec] = {
    spec.name: spec for spec in (KITTI, NYU, SUNRGBD, SEVENSCENES, KITTI_LIDAR, SCANNET, DIODE, ETH3D, HYPERSIM, VKITTI)
}
"""The public datasets, whose unit is known without looking at files."""

NAMES = (*DEPTH_SPECS, "depth_folder")

PLAUSIBLE_MEDIAN = (0.05, 300.0)  # metres; outside, the unit is wrong rather than the world


def depth_spec(name: str, root: Path) -> DepthSpec:
    """Return the description of a depth dataset; the unit of a user's own ``depth_folder`` is read from ``root``.

    Raises:
        DataError: no such dataset, or an unreadable ``depth.json``.
    """
    if name not in NAMES:
        raise DataError(f"unknown depth dataset {name!r}; expected one of {', '.join(NAMES)}")
    return DEPTH_SPECS[name] if name in DEPTH_SPECS else depth_folder_spec(root)


class DepthDataset(PairDataset):
    """Pictures with depth maps in metres, 0 where nothing was measured.

    Attributes:
        unannotated: how many images of the whole split have no depth map and are left out (KITTI test: 45 of 697).
    """

    truth = "depth"  # float32 in items
    padding = 0

    def __init__(
        self, spec: DepthSpec, samples: list[Sample], data: DataConfig, *, unannotated: int, **options: Any
    ) -> None:
        super().__init__(spec.name, samples, data, **options)
        self.spec = spec
        self.unannotated = unannotated

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read the evaluated window of one picture and of its depth map.

        Returns:
            RGB uint8 (H, W, 3) and depth float32 (H, W) in metres, 0 = no measurement.

        Raises:
            DataError: a damaged file, one that is no depth map, sizes that differ, an implausible unit, or an
                evaluation image without any measurement.
        """
        return self._read(index)

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        sample = self.samples[index]
        image, depth = read_depth_pair(sample, self.spec)
        window = self.spec.eval_window(transforms.size_of(depth))
        image, depth = image[window], depth[window]
        if not self.train and not depth.any():
            raise DataError(f"{sample.label}: holds no measurement to evaluate against; expected depth above 0")
        return image, depth

    def _augment(self, image: np.ndarray, depth: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Training window, random rotation, flip, crop and colours, in the released order."""
        image, depth = transforms.resize_pair(image, depth, self.data.image_scale)
        window = self.spec.train_window(transforms.size_of(depth))
        image, depth = random_rotation(image[window], depth[window], self.spec.rotation, rng)
        image, depth = transforms.random_flip(image, depth, rng)
        image, depth = random_crop(image, depth, self.data.crop_size, rng)
        return random_color(image, self.spec.jitter, rng), depth

    def _identity(self) -> str:
        return f"{self.name}\t{self.spec.depth_scale:g}"


def open_split(
    spec: DepthSpec, root: Path, data: DataConfig, split: str, limit: int | None, *, train: bool, **options: Any
) -> DepthDataset:
    """Open the images of a split that have a depth map.

    Raises:
        DataError: no images, none with depth, a missing image, or (in training) a missing depth map.
    """
    samples = unique(spec.list_samples(root, split), root, split, spec.layout)
    annotated = _annotated(samples, train)
    if not annotated:
        raise DataError(f"{root}: none of the {len(samples)} images of split {split!r} has a depth map; {spec.layout}")
    missing = missing_files([sample.image for sample in annotated])
    if missing:
        raise DataError(f"{min(missing)}: no such file; expected {spec.layout} ({len(missing)} images are missing)")
    unannotated = len(samples) - len(annotated)
    return DepthDataset(spec, annotated[:limit], data, unannotated=unannotated, train=train, **options)


def _annotated(samples: list[Sample], train: bool) -> list[Sample]:
    """Return the samples with a depth map.

    Those that the split lists without one are left out. One whose depth map is listed but not there is left out at
    evaluation only, where the count is reported: training on less than the recipe says would go unnoticed.
    """
    lacking = without_label(samples)
    absent = [sample for sample in lacking if sample.label is not None]
    if absent and train:
        count = f"{len(absent)} of {len(samples)} images lack theirs"
        raise DataError(f"{absent[0].image}: has no depth map; expected {absent[0].label} ({count})")
    ids = {sample.id for sample in lacking}
    return [sample for sample in samples if sample.id not in ids]


def read_depth_pair(sample: Sample, spec: DepthSpec) -> tuple[np.ndarray, np.ndarray]:
    """Read a whole picture and its depth map.

    Returns:
        RGB uint8 (H, W, 3) and depth float32 (H, W) in metres, 0 = no measurement.

    Raises:
        DataError: a missing or damaged file, one that is no 16-bit PNG, sizes that differ, or a median depth that
            only a wrong unit explains.
    """
    image = read_image(sample.image)
    stored = spec.read(sample.truth, transforms.size_of(image))
    require_equal_sizes(image, stored, sample)
    return image, to_metres(spec.decode(stored), spec, sample.label)


def to_metres(stored: np.ndarray, spec: DepthSpec, path: Path | None) -> np.ndarray:
    """Translate decoded values.

    Returns:
        float32 (H, W) in metres, 0 = no measurement.

    Raises:
        DataError: a median depth that only a wrong unit explains; ``path`` is named.
    """
    depth = stored.astype(np.float32) / np.float32(spec.depth_scale)
    measured = depth[depth > 0]
    if measured.size and not PLAUSIBLE_MEDIAN[0] <= (median := float(np.median(measured))) <= PLAUSIBLE_MEDIAN[1]:
        low, high = PLAUSIBLE_MEDIAN
        unit = f"with depth_scale {spec.depth_scale:g} (stored units per metre)"
        raise DataError(f"{path}: its median depth is {median:.3g} m {unit}; expected {low:g} to {high:g} m")
    return depth
