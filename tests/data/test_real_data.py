"""The loaders on the files that the datasets' authors published."""

from pathlib import Path

import numpy as np
import pytest

from ddp_repro.config import DataConfig
from ddp_repro.data import SegmentationDataset, build_dataset
from ddp_repro.data.io import read_label

pytestmark = pytest.mark.data
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def build(name: str, root: Path, split: str, **changes) -> SegmentationDataset:
    data = DataConfig(dataset=name, root=str(root), **changes)
    return build_dataset(data, split, train=False, mean=MEAN, std=STD)


def names(dataset: SegmentationDataset, label: np.ndarray) -> set[str]:
    return {dataset.class_names[i] for i in np.unique(label) if i != 255}


def test_ade20k(data: Path):
    dataset = build("ade20k", data / "ade20k_samples/ADEChallengeData2016", "validation")
    assert dataset.ids == [f"ADE_val_{i:08d}" for i in (1, 2, 3)]
    image, label = dataset.load(0)
    assert image.shape[:2] == label.shape == (512, 683)
    assert {"building", "sky"} <= names(dataset, label)
    stored = read_label(dataset.samples[0].label)
    assert np.array_equal(label == 255, stored == 0) and np.array_equal(label[stored > 0] + 1, stored[stored > 0])
    assert min(dataset[2]["image"].shape[1:]) == 512 and dataset[2]["label"].shape == dataset.load(2)[1].shape


def test_cityscapes(data: Path):
    dataset = build("cityscapes", data / "cityscapes_samples", "train", image_scale=(2048, 1024))
    assert dataset.ids == [f"aachen/aachen_00000{i}_000019" for i in range(5)]
    image, label = dataset.load(0)
    assert image.shape == (1024, 2048, 3)
    assert {"road", "building", "car", "vegetation", "sky"} <= names(dataset, label)


def test_cityscapes_train_ids_are_the_official_ones(data: Path):
    root = data / "cityscapes_samples/tiny_256x128"
    dataset = build("cityscapes", root, "val", image_scale=(256, 128))
    assert dataset.ids == ["frankfurt/frankfurt_000000_000294"]
    official = read_label(root / "gtFine/val/frankfurt/frankfurt_000000_000294_gtFine_labelTrainIds.png")
    # the two files were shrunk independently of one another, so a few border pixels differ
    assert np.mean(dataset.load(0)[1] == official) > 0.997
    assert dataset[0]["image"].shape == (3, 128, 256)


def test_camvid(data: Path):
    counts = {split: len(build("camvid", data / "camvid", split)) for split in ("train", "val", "test")}
    assert counts == {"train": 367, "val": 101, "test": 117}
    dataset = build("camvid", data / "camvid", "val", image_scale=(480, 360))
    found = set()
    for i in range(0, 101, 10):
        image, label = dataset.load(i)
        assert image.shape[:2] == label.shape == (360, 480)
        found |= names(dataset, label)
    assert found == set(dataset.class_names)
