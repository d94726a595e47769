"""The loaders on the files that the datasets' authors published."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from ddp_repro.data.io import read_label
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.build import build_dataset
from ddp_repro.tasks.depth.dataset import DEPTH_SPECS, DepthDataset
from ddp_repro.tasks.segmentation.dataset import SegmentationDataset

pytestmark = pytest.mark.data
SEVENSCENES_COUNTS, LIDAR_COUNTS = {"train": 175, "test": 65}, {"train": 52, "val": 10}
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def build(name: str, root: Path, split: str, **changes) -> SegmentationDataset | DepthDataset:
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


def medians(dataset: DepthDataset, step: int = 1) -> np.ndarray:
    """Median measured depth of every ``step``-th image, in metres."""
    maps = [dataset.load(i)[1] for i in range(0, len(dataset), step)]
    return np.array([np.median(depth[depth > 0]) for depth in maps])


def test_sevenscenes(data: Path):
    for split, count in SEVENSCENES_COUNTS.items():
        dataset = build("sevenscenes", data / "sevenscenes", split, image_scale=None)
        assert len(dataset) == count and dataset.ids[0].startswith("frame-000") and dataset.unannotated == 0
        image, depth = dataset.load(0)
        assert image.shape == (240, 320, 3) and depth.shape == (240, 320)
        assert ((medians(dataset, 10) > 0.5) & (medians(dataset, 10) < 4)).all()
    assert dataset[0]["image"].shape == (3, 240, 320)


def test_kitti_lidar(data: Path):
    for split, count in LIDAR_COUNTS.items():
        dataset = build("kitti_lidar", data / "kitti_lidar_seq", split, image_scale=None)
        assert len(dataset) == count
        image, depth = dataset.load(0)
        assert image.shape == (352, 1216, 3) and depth.shape == (352, 1216)
        assert 0.03 < (depth > 0).mean() < 0.05 and ((medians(dataset, 5) > 3) & (medians(dataset, 5) < 20)).all()


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)


def write_list(root: Path, name: str, lines: list[str]) -> None:
    (root / "splits").mkdir()
    (root / "splits" / name).write_text("\n".join(lines))


def test_kitti_in_its_own_encoding(data: Path, tmp_path: Path):
    source, drive, lines = data / "kitti_samples/depth_annotated", "2011_09_28_drive_0001_sync", []
    for frame in ("0000000005.png", "0000000050.png", "0000000100.png"):
        image, depth = f"2011_09_28/{drive}/image_02/data/{frame}", f"{drive}/proj_depth/groundtruth/image_02/{frame}"
        link(source / "rgb" / frame, tmp_path / "input" / image)
        link(source / "depth" / frame, tmp_path / "gt_depth" / depth)
        lines.append(f"{image} {depth} 707.0493")
    write_list(tmp_path, "kitti_eigen_test.txt", lines)
    dataset = build("kitti", tmp_path, "test", image_scale=None)
    assert dataset.ids == [f"{drive}/{frame}" for frame in ("0000000005", "0000000050", "0000000100")]
    for i in range(3):
        image, depth = dataset.load(i)
        stored = cv2.imread(str(dataset.samples[i].label), cv2.IMREAD_UNCHANGED)
        assert image.shape == (352, 1216, 3) and stored.dtype == np.uint16
        assert np.array_equal(depth * 256, stored[-352:, 13:1229]) and 0.17 < (depth > 0).mean() < 0.24
        assert depth[depth > 0].min() > 4 and depth.max() < 90


def test_nyu_in_its_own_encoding(data: Path, tmp_path: Path):
    lines = []
    for number in ("00000", "00050", "00100"):
        names = [f"room_0001/rgb_{number}.jpg", f"room_0001/sync_depth_{number}.png"]
        for name in names:
            link(data / "indoor_rgbd_samples/nyu_sync" / Path(name).name, tmp_path / "train" / name)
        lines.append(" ".join(f"/{name}" for name in names) + " 518.8579")
    write_list(tmp_path, "nyu_train.txt", lines)
    dataset = build("nyu", tmp_path, "train", image_scale=None)
    assert dataset.ids == ["room_0001/00000", "room_0001/00050", "room_0001/00100"]
    for i in range(3):
        image, depth = dataset.load(i)
        assert image.shape == (480, 640, 3) and 0.6 < (depth > 0).mean() < 0.8
    assert ((medians(dataset) > 1) & (medians(dataset) < 5)).all()


def test_sunrgbd_in_its_own_encoding(data: Path, tmp_path: Path):
    source, lines = data / "indoor_rgbd_samples/sunrgbd_raw", []
    for sample in ("img_0063", "2014-12-18_11-31-54_260595134347"):
        names = [next((source / sample / part).iterdir()).relative_to(source) for part in ("image", "depth")]
        lines.append(" ".join(f"SUNRGBD/kv1/{name.as_posix()}" for name in names))
    link(source, tmp_path / "SUNRGBD/kv1")
    write_list(tmp_path, "SUNRGBD_val_splits.txt", lines)
    dataset = build("sunrgbd", tmp_path, "test", image_scale=None)
    assert medians(dataset) == pytest.approx([2.397, 1.963], abs=1e-3)  # metres: an office
    for i, sample in enumerate(dataset.samples):
        # the released evaluation's unit, 8000 per metre of the bits as they are, gives the same below 8.192 m
        stored = cv2.imread(str(sample.label), cv2.IMREAD_UNCHANGED)
        assert np.allclose(dataset.load(i)[1], stored / 8000)


@pytest.mark.parametrize(
    ("name", "lines", "unannotated", "layout"),
    [
        ("kitti_eigen_train.txt", 23158, 0, "kitti"),
        ("kitti_eigen_test.txt", 697, 45, "kitti"),
        ("nyu_train.txt", 24231, 0, "nyu"),
        ("nyu_test.txt", 654, 0, "nyu"),
        ("SUNRGBD_val_splits.txt", 5050, 0, "sunrgbd"),
    ],
)
def test_published_split_lists(data: Path, tmp_path: Path, name: str, lines: int, unannotated: int, layout: str):
    link(data / "splits" / name, tmp_path / "splits" / name)
    split = "train" if "train" in name else "test"
    samples = DEPTH_SPECS[layout].list_samples(tmp_path, split)
    assert len({sample.id for sample in samples}) == len(samples) == lines
    assert sum(sample.label is None for sample in samples) == unannotated
