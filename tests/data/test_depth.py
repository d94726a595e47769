"""Depth datasets from disk to samples, and what is said about broken ones."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from ddp_repro.data.io import DataError, read_depth
from ddp_repro.tasks.depth.dataset import DEPTH_SPECS
from ddp_repro.tasks.depth.datasets.spec import read_split_list
from ddp_repro.tasks.depth.datasets.sunrgbd import rotate_bits

from .depth_files import (
    MEAN,
    STD,
    build,
    write_depth,
    write_depth_folder,
    write_kitti,
    write_list,
    write_nyu,
    write_pair,
    write_sunrgbd,
)

GT = "gt_depth/2011_09_26_drive_0002_sync/proj_depth/groundtruth/image_02/0000000069.png"


def test_kitti(tmp_path: Path):
    dataset = build("kitti", write_kitti(tmp_path), "test")
    assert dataset.ids == ["2011_09_26_drive_0002_sync/0000000069", "2011_09_26_drive_0009_sync/0000000069"]
    assert dataset.unannotated == 1 and len(dataset) == 2 and dataset.name == "kitti"
    image, depth = dataset.load(0)
    assert image.dtype == np.uint8 and image.shape == (24, 32, 3)
    assert depth.dtype == np.float32 and np.array_equal(depth * 256, cv2.imread(str(tmp_path / GT), -1))


def test_kitti_is_cropped_as_the_benchmark(tmp_path: Path):
    root = write_kitti(tmp_path, size=(375, 1242))
    image, depth = build("kitti", root, "test").load(0)
    assert image.shape == (352, 1216, 3) and depth.shape == (352, 1216)
    whole = cv2.imread(str(root / GT), -1)
    assert np.array_equal(depth * 256, whole[23:, 13:1229])


def test_nyu(tmp_path: Path):
    write_nyu(tmp_path, "test", (480, 640))
    dataset = build("nyu", write_nyu(tmp_path, "train", (480, 640)), "train", train=True, crop_size=(427, 565))
    assert dataset.ids == ["kitchen_0028b/00045", "kitchen_0028b/00046", "office_0001a/00045"]
    assert dataset.load(0)[1].shape == (480, 640)
    assert build("nyu", tmp_path, "test")[0]["image"].shape == (3, 480, 640)
    # the frame is cut off for training, and what is left has the crop's size exactly
    shapes = {tuple(dataset.sample(0, np.random.default_rng(seed))["depth"].shape) for seed in range(4)}
    values = dataset.sample(0, np.random.default_rng(2))["depth"]
    assert shapes == {(427, 565)} and set(values.unique().tolist()) <= {
        0.0,
        *np.unique(dataset.load(0)[1][45:472, 43:608]).tolist(),
    }


def test_sunrgbd_bits_are_turned_back(tmp_path: Path):
    millimetres = np.array([[0, 1, 600], [8191, 8192, 9000], [2397, 65535, 40000]], np.uint16)
    dataset = build("sunrgbd", write_sunrgbd(tmp_path, millimetres), "test")
    assert dataset.ids == ["kv2/kinect2data/000002_2014/0000103"]
    assert np.array_equal(np.rint(dataset.load(0)[1] * 1000), millimetres)


def test_sunrgbd_values_divided_by_8000_agree_below_8192_millimetres():
    millimetres = np.arange(10_000, dtype=np.uint16)
    stored = (millimetres << 3) | (millimetres >> 13)
    assert np.array_equal(rotate_bits(stored), millimetres)
    agree = np.isclose(stored / 8000, millimetres / 1000)
    assert agree[:8192].all() and not agree[8192:].any()


def test_depth_folder(tmp_path: Path):
    write_depth_folder(tmp_path, unit=5000)
    dataset = build("depth_folder", tmp_path, "train")
    assert dataset.ids == ["a", "b", "c"] and dataset.unannotated == 0
    assert 1 <= dataset.load(0)[1].max() <= 5
    assert np.array_equal(dataset.load(0)[1] == 0, cv2.imread(str(tmp_path / "depth/train/a.png"), -1) == 0)


@pytest.mark.parametrize(
    ("dataset", "image", "depth"),
    [
        ("sevenscenes", "frame-000740.color.jpg", "frame-000740.depth.png"),
        ("kitti_lidar", "image_02/0000000054.jpg", "depth/0000000054.png"),
    ],
)
def test_small_real_datasets(tmp_path: Path, dataset: str, image: str, depth: str):
    write_pair(tmp_path / "val" / image, tmp_path / "val" / depth, unit=int(DEPTH_SPECS[dataset].depth_scale))
    found = build(dataset, tmp_path, "val")
    assert found.ids == [Path(image).name.split(".")[0]] and 1 <= found.load(0)[1].max() <= 5


def test_evaluation_item(tmp_path: Path):
    root = write_depth_folder(tmp_path)
    dataset = build("depth_folder", root, "train")
    item, (image, depth) = dataset[1], dataset.load(1)
    assert item["id"] == "b" and item["image"].dtype == item["depth"].dtype == torch.float32
    assert np.array_equal(item["depth"].numpy(), depth)
    assert np.allclose(item["image"].numpy().transpose(1, 2, 0) * STD + MEAN, image, atol=1e-3)
    smaller = build("depth_folder", root, "train", image_scale=(16, 12))[1]
    assert smaller["image"].shape == (3, 12, 16) and torch.equal(smaller["depth"], item["depth"])


def test_training_sample_depends_on_its_generator_alone(tmp_path: Path):
    dataset = build("depth_folder", write_depth_folder(tmp_path), "train", train=True)
    one, same = (dataset.sample(0, np.random.default_rng(5)) for _ in range(2))
    other = dataset.sample(0, np.random.default_rng(6))
    assert one["image"].shape == (3, 16, 16) and one["depth"].shape == (16, 16)
    assert one["image"].dtype == one["depth"].dtype == torch.float32
    assert torch.equal(one["image"], same["image"]) and torch.equal(one["depth"], same["depth"])
    assert not torch.equal(one["image"], other["image"])


def test_training_depth_is_never_interpolated(tmp_path: Path):
    dataset = build("depth_folder", write_depth_folder(tmp_path), "train", train=True, image_scale=(20, 15))
    values = {0.0, *np.unique(dataset.load(0)[1]).tolist()}
    for seed in range(20):
        assert set(dataset.sample(0, np.random.default_rng(seed))["depth"].unique().tolist()) <= values


def test_small_picture_is_padded_with_the_mean_colour_and_no_depth(tmp_path: Path):
    dataset = build("depth_folder", write_depth_folder(tmp_path), "train", train=True, crop_size=(30, 40))
    item = dataset.sample(0, np.random.default_rng(0))
    assert item["image"].shape == (3, 30, 40) and not item["image"][:, 24:].any() and not item["image"][..., 32:].any()
    assert not item["depth"][24:].any() and not item["depth"][:, 32:].any() and item["depth"][:24, :32].any()


def test_training_and_evaluation_datasets_are_not_mixed_up(tmp_path: Path):
    root = write_depth_folder(tmp_path)
    with pytest.raises(TypeError, match="train=False"):
        build("depth_folder", root, "train", train=True)[0]
    with pytest.raises(TypeError, match="train=True"):
        build("depth_folder", root, "train").sample(0, np.random.default_rng(0))


def test_limit_does_not_change_what_is_said_about_the_split(tmp_path: Path):
    dataset = build("kitti", write_kitti(tmp_path), "test", limit=1)
    assert len(dataset) == 1 and dataset.unannotated == 1


def test_fingerprint_tells_files_and_units_apart(tmp_path: Path):
    root = write_depth_folder(tmp_path)
    first = build("depth_folder", root, "train").fingerprint()
    assert first == build("depth_folder", root, "train", train=True).fingerprint()
    (root / "depth.json").write_text('{"depth_scale": 500}')
    assert build("depth_folder", root, "train").fingerprint() != first
    (root / "depth.json").write_text('{"depth_scale": 1000.0}')
    (root / "depth/train/a.png").write_bytes((root / "depth/train/a.png").read_bytes() + b" ")
    assert build("depth_folder", root, "train").fingerprint() != first


@pytest.mark.parametrize("dataset", ["kitti", "depth_folder"])
def test_dataset_can_be_sent_to_loader_workers(tmp_path: Path, dataset: str):
    root = write_kitti(tmp_path, "train") if dataset == "kitti" else write_depth_folder(tmp_path)
    copy = pickle.loads(pickle.dumps(build(dataset, root, "train", train=True)))
    assert copy.sample(0, np.random.default_rng(0))["depth"].shape == (16, 16)


def test_missing_depth_is_counted_at_evaluation_and_refused_in_training(tmp_path: Path):
    root = write_kitti(write_kitti(tmp_path, "train"), "test")
    (root / GT).unlink()
    dataset = build("kitti", root, "test")
    assert len(dataset) == 1 and dataset.unannotated == 2
    with pytest.raises(DataError, match=r"0000000069\.png: has no depth map; expected .*gt_depth.*\(1 of 3"):
        build("kitti", root, "train", train=True)


def test_split_without_any_depth(tmp_path: Path):
    root = write_kitti(tmp_path)
    write_list(
        root, "kitti_eigen_test.txt", ["2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000075.png None"]
    )
    with pytest.raises(DataError, match="none of the 1 images of split 'test' has a depth map"):
        build("kitti", root, "test")


def test_missing_image_is_named(tmp_path: Path):
    root = write_nyu(tmp_path)
    (root / "train/kitchen_0028b/rgb_00046.jpg").unlink()
    with pytest.raises(DataError, match=r"rgb_00046\.jpg: no such file; expected .*\(1 images are missing\)"):
        build("nyu", root, "train")


@pytest.mark.parametrize("dataset", ["kitti", "nyu", "sunrgbd"])
def test_missing_list_and_unknown_split(tmp_path: Path, dataset: str):
    with pytest.raises(DataError, match=r"splits/.*\.txt: cannot be read .*expected lines of: image path"):
        build(dataset, tmp_path, "test")
    with pytest.raises(DataError, match="has no split 'val'; expected one of "):
        build(dataset, tmp_path, "val")
    with pytest.raises(DataError, match=f"prepare it with `python -m data_prep {dataset}"):
        build(dataset, tmp_path / "nowhere", "test")


def test_depth_folder_without_its_folders(tmp_path: Path):
    (tmp_path / "depth.json").write_text('{"depth_scale": 1000}')
    for folder, kinds in (("depth", r"\.png"), ("images", r"\.jpg/")):
        with pytest.raises(DataError, match=rf"{folder}/train: cannot be listed .* expected a folder of {kinds}"):
            build("depth_folder", tmp_path, "train")
        (tmp_path / folder / "train").mkdir(parents=True)
    with pytest.raises(DataError, match="split 'train' has no images; expected images/<split>/NAME.jpg"):
        build("depth_folder", tmp_path, "train")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_split_list_forms(tmp_path: Path, end: str):
    lines = ["/a/x.jpg /a/x.png 518.8579", "", "a/y.jpg None 721.5", "b/z.jpg b/z.png", "b/w.jpg b/w.png None"]
    write_list(tmp_path, "list.txt", lines, end)
    expected = [("a/x.jpg", "a/x.png"), ("a/y.jpg", None), ("b/z.jpg", "b/z.png"), ("b/w.jpg", "b/w.png")]
    assert read_split_list(tmp_path / "splits/list.txt") == expected


@pytest.mark.parametrize(
    "line", ["a.jpg", "a.jpg a.png 7 8", "a.jpg a.png focal", "a.jpg a.png -3", "../a.jpg a.png", "None a.png 3"]
)
def test_wrong_split_line_is_named_by_its_number(tmp_path: Path, line: str):
    write_list(tmp_path, "list.txt", ["a.jpg a.png 518.8", "", line])
    with pytest.raises(DataError, match=r"list\.txt, line 3: is '.*'; expected lines of: image path, depth path"):
        read_split_list(tmp_path / "splits/list.txt")


@pytest.mark.parametrize(
    ("pixels", "what"),
    [
        (np.full((24, 32), 7, np.uint8), "a PNG of mode L"),
        (np.full((24, 32, 3), 7, np.uint8), "a PNG of mode RGB"),
        (np.full((24, 32, 3), 7, np.uint16), "a PNG of mode RGB"),
    ],
)
def test_png_that_is_not_of_16_bits(tmp_path: Path, pixels: np.ndarray, what: str):
    root = write_depth_folder(tmp_path)
    write_depth(root / "depth/train/a.png", pixels)
    with pytest.raises(DataError, match=rf"a\.png: is {what}; expected a complete greyscale PNG of 16 bits"):
        build("depth_folder", root, "train")[0]


def test_other_formats_under_the_name_of_a_png(tmp_path: Path):
    Image.new("I;16", (8, 8)).save(tmp_path / "a.png", format="TIFF")
    with pytest.raises(DataError, match=r"a\.png: is a TIFF of mode"):
        read_depth(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.full((8, 8), np.nan, np.float32))
    with pytest.raises(DataError, match=r"a\.npy: cannot be opened"):
        read_depth(tmp_path / "a.npy")


@pytest.mark.parametrize(("name", "said"), [("a.npy", "floating-point formats are not read"), ("a.jpg", "is no PNG")])
def test_depth_folder_with_other_formats(tmp_path: Path, name: str, said: str):
    root = write_depth_folder(tmp_path)
    (root / "depth/train" / name).write_bytes(b"")
    with pytest.raises(DataError, match=rf"depth/train/{name}: .*{said}.*16 bits"):
        build("depth_folder", root, "train")


@pytest.mark.parametrize("unit", [100_000, 3])
def test_implausible_unit_is_named(tmp_path: Path, unit: int):
    root = write_depth_folder(tmp_path)
    (root / "depth.json").write_text(f'{{"depth_scale": {unit}}}')
    said = rf"a\.png: its median depth is .* m with depth_scale {unit} \(stored units per metre\); expected 0\.05 to"
    with pytest.raises(DataError, match=said):
        build("depth_folder", root, "train")[0]


def test_image_without_any_measurement(tmp_path: Path):
    root = write_depth_folder(tmp_path)
    write_depth(root / "depth/train/a.png", np.zeros((24, 32), np.uint16))
    with pytest.raises(DataError, match=r"a\.png: holds no measurement to evaluate against"):
        build("depth_folder", root, "train").load(0)
    training = build("depth_folder", root, "train", train=True)
    assert not training.sample(0, np.random.default_rng(0))["depth"].any()


def test_size_mismatch_names_both_files(tmp_path: Path):
    root = write_depth_folder(tmp_path)
    write_depth(root / "depth/train/a.png", np.full((24, 31), 1000, np.uint16))
    with pytest.raises(DataError, match=r"depth/train/a\.png: is 31 x 24, but its image .*a\.jpg is 32 x 24"):
        build("depth_folder", root, "train")[0]


def test_damaged_depth_is_named(tmp_path: Path):
    root = write_depth_folder(tmp_path)
    path = root / "depth/train/a.png"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded .*expected a complete greyscale PNG"):
        build("depth_folder", root, "train")[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("{}", "depth_scale is None"),
        ('{"depth_scale": "1000"}', "depth_scale is '1000'"),
        ('{"depth_scale": 0}', "depth_scale is 0"),
        ('{"depth_scale": -5}', "depth_scale is -5"),
        ('{"depth_scale": NaN}', "depth_scale is nan"),
        ('{"depth_scale": true}', "depth_scale is True"),
        ('{"scale": 1000}', "no keys but depth_scale"),
    ],
)
def test_wrong_depth_json(tmp_path: Path, content: str, said: str):
    root = write_depth_folder(tmp_path)
    (root / "depth.json").write_text(content)
    with pytest.raises(DataError, match=r"depth\.json: ") as caught:
        build("depth_folder", root, "train")
    assert said in str(caught.value)
