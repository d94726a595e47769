"""nuScenes (Caesar et al., CVPR 2020) for BEV map segmentation: six cameras, LiDAR, and the map around the car."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from ddp_repro.data import transforms
from ddp_repro.data.io import DataError, read_image
from ddp_repro.tasks.bev.nuscenes.geometry import ground_patch
from ddp_repro.tasks.bev.nuscenes.index import SampleRecord, Sweep, View, read_split, to_json
from ddp_repro.tasks.bev.nuscenes.map import GroundMap, map_path
from ddp_repro.tasks.bev.nuscenes.points import load_points
from ddp_repro.tasks.bev.settings import MAP_CLASSES, BEVDataConfig
from ddp_repro.tasks.bev.transforms import ImageAugmentation, LidarAugmentation

_ORDER_SEED = 0  # of the class-balanced resampling, so that all processes have the same samples


class NuScenesBEV(Dataset):
    """Key frames with the map around the car: indexed for evaluation, sampled for training.

    An item has the keys that :class:`ddp_repro.papers.ddp.bev.BEVDDP` takes, for one sample:

    - "image": float32 (6, 3, H, W), normalised, in the order of :data:`.nuscenes.index.CAMERAS`;
    - "camera_to_lidar": (6, 4, 4), "intrinsics": (6, 3, 3), "image_augmentation": (6, 4, 4) and
      "lidar_augmentation": (4, 4), float32;
    - "points" (not with ``lidar=False``): float32 (P, 5) of x, y, z, intensity and time lag, augmented, in range;
    - "masks": boolean (6, X, Y), the classes of :data:`.nuscenes.map.CLASS_LAYERS`, indexed [class, x, y];
    - "id": the sample's token.

    Args:
        split: name of the split, e.g. ``data.train_split``.
        train: whether training samples will be drawn; then indexing is refused, and the other way round.
        mean, std: of the RGB channels on the 0..255 scale.
        limit: use only the first so many samples.

    Attributes:
        ids: tokens of the samples.
        skipped: token and problem of the samples that ``data_prep`` left out, as it was asked to.

    Raises:
        ConfigError: impossible settings.
        DataError: no index, one of another version, no such split, or a map that is missing or too old.
    """

    name = "nuscenes"
    truth = "masks"
    class_names = MAP_CLASSES

    def __init__(
        self,
        data: BEVDataConfig,
        split: str,
        *,
        train: bool,
        mean: Sequence[float],
        std: Sequence[float],
        limit: int | None = None,
    ) -> None:
        if limit is not None and limit < 1:
            raise DataError(f"limit is {limit}; expected at least 1 sample")
        self.root, self.data, self.train = Path(data.root).expanduser(), data, train
        index = read_split(self.root, split)
        if index.version != data.version:
            raise DataError(
                f"{self.root}: its index is of {index.version}; expected {data.version}, as in the settings"
            )
        if not index.records:
            raise DataError(f"{self.root}: split {split!r} has no samples; {len(index.skipped)} were left out")
        self.records, self.skipped = index.records[:limit], index.skipped
        if train and data.class_balanced:
            self.records = [self.records[i] for i in balanced_order(self.records)]
        self.ids = [record.token for record in self.records]
        self.mean, self.std = tuple(mean), tuple(std)
        self.maps = {
            location: GroundMap.read(self.root, location) for location in sorted({r.location for r in self.records})
        }

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the evaluation item: no augmentation but the fixed cut of the pictures, and the nearest sweeps."""
        if self.train:
            raise TypeError("a training dataset is sampled with sample(index, rng); build with train=False to index it")
        record, data = self.records[index], self.data
        with _naming(record):
            images = [ImageAugmentation.at_test(v.size, data.image_size, data.test_resize) for v in record.views]
            points = self._points(record, record.sweeps[: data.sweeps]) if data.lidar else None
            return self._item(record, images, LidarAugmentation(), points)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Return a training sample with the released augmentation; all randomness is drawn from ``rng``."""
        if not self.train:
            raise TypeError("an evaluation dataset is indexed; build with train=True to sample it")
        record, data = self.records[index], self.data
        with _naming(record):
            images = [ImageAugmentation.draw(v.size, data.image_size, rng, data.train_resize) for v in record.views]
            lidar, points = LidarAugmentation.draw(rng, data.lidar_turn, data.lidar_scale), None
            if data.lidar:
                count = min(data.sweeps, len(record.sweeps))
                chosen = rng.choice(len(record.sweeps), count, replace=False) if count else []
                points = rng.permutation(self._points(record, [record.sweeps[i] for i in chosen]))
            return self._item(record, images, lidar, points)

    @staticmethod
    def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch of items: tensors stacked; clouds, which differ in length, and ids in lists."""
        listed = ("points", "id")
        return {
            name: [item[name] for item in items] if name in listed else torch.stack([item[name] for item in items])
            for name in items[0]
        }

    def pictures(self, index: int) -> list[np.ndarray]:
        """Return the cameras' own pictures, uint8 (H, W, 3) each."""
        with _naming(self.records[index]):
            return [self._picture(view) for view in self.records[index].views]

    def masks(self, index: int) -> np.ndarray:
        """Return the true map, boolean (6, X, Y), without reading pictures or clouds."""
        with _naming(self.records[index]):
            return self._masks(self.records[index], LidarAugmentation())

    def fingerprint(self) -> str:
        """SHA-256 over the index, the maps, and the sizes of the key frames' files."""
        digest = hashlib.sha256(self.name.encode())
        for location in self.maps:
            digest.update(map_path(self.root, location).read_bytes())
        for record in sorted(self.records, key=lambda record: record.token):
            sizes = [(self.root / file).stat().st_size for file in record.files[: len(record.views) + 1]]
            digest.update(json.dumps([to_json(record), sizes]).encode())
        return digest.hexdigest()

    def _item(
        self,
        record: SampleRecord,
        images: list[ImageAugmentation],
        lidar: LidarAugmentation,
        points: np.ndarray | None,
    ) -> dict[str, Any]:
        pairs = list(zip(record.views, images, strict=True))
        item = {
            "image": np.stack([self._prepared(view, augmentation) for view, augmentation in pairs]),
            "camera_to_lidar": _float32([view.camera_to_lidar for view in record.views]),
            "intrinsics": _float32([view.intrinsics for view in record.views]),
            "image_augmentation": _float32([augmentation.matrix() for augmentation in images]),
            "lidar_augmentation": lidar.matrix(),
            "masks": self._masks(record, lidar),
        }
        if points is not None:
            item["points"] = moved = lidar.apply(points)  # whole: how far a model looks is its own setting
            if not (np.abs(moved[:, :2]) < self.data.map_range).all(1).any():
                where = f"{self.root / record.lidar}: none of {len(points)} points"
                raise DataError(f"{where} is on the map; expected points within {self.data.map_range:g} m of the car")
        return {name: torch.from_numpy(value) for name, value in item.items()} | {"id": record.token}

    def _prepared(self, view: View, augmentation: ImageAugmentation) -> np.ndarray:
        picture = augmentation.apply(Image.fromarray(self._picture(view)))
        return transforms.normalize(np.asarray(picture), self.mean, self.std)

    def _picture(self, view: View) -> np.ndarray:
        picture = read_image(self.root / view.file)
        if picture.shape[:2] != view.size:
            sizes = f"{picture.shape[1]} x {picture.shape[0]}; expected {view.size[1]} x {view.size[0]}"
            raise DataError(f"{self.root / view.file}: is {sizes} (width x height), as in the tables")
        return picture

    def _points(self, record: SampleRecord, sweeps: Sequence[Sweep]) -> np.ndarray:
        return load_points(self.root, record, sweeps, repeats=0 if record.sweeps else self.data.sweeps)

    def _masks(self, record: SampleRecord, lidar: LidarAugmentation) -> np.ndarray:
        """Return the map in the augmented LiDAR frame, but for its scale (as released)."""
        moved = dataclasses.replace(lidar, flip_x=False, flip_y=False).matrix()
        # In float32, as released: where a line ends hangs on it.
        poses = record.ego_to_global.astype(np.float32) @ record.lidar_to_ego.astype(np.float32)
        patch = ground_patch(poses @ np.linalg.inv(moved))
        drawn = self.maps[record.location].masks(*patch, 2 * self.data.map_range, self.data.map_size)
        return lidar.mirror(drawn.astype(bool))


def balanced_order(records: Sequence[SampleRecord]) -> list[int]:
    """Numbers of samples, drawn with repetition so that each object class is in about as many (CBGS, Zhu et al. 2019).

    Raises:
        DataError: no sample has an annotated object.
    """
    members: dict[str, list[int]] = {}
    for number, record in enumerate(records):
        for name in record.objects:
            members.setdefault(name, []).append(number)
    if not members:
        raise DataError("class_balanced: no sample has an annotated object; expected nuScenes' annotations")
    rng = np.random.default_rng(_ORDER_SEED)
    count = int(sum(map(len, members.values())) / len(members))
    return [int(i) for name in sorted(members) for i in rng.choice(members[name], count)]


@contextmanager
def _naming(record: SampleRecord) -> Iterator[None]:
    """Errors of a sample's files say which sample it is."""
    try:
        yield
    except DataError as error:
        raise DataError(f"sample {record.token} of {record.scene}: {error}") from error


def _float32(matrices: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(matrices).astype(np.float32)
