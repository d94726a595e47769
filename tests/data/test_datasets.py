"""Datasets from disk to samples, and what is said about broken ones."""

import ast
import dataclasses
import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddp_repro.data.io import DataError
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.build import build_dataset, dataset_names
from ddp_repro.tasks.segmentation.dataset import SPECS, SegmentationDataset

from .conftest import write_folder_dataset

MEAN, STD = (100.0, 110.0, 120.0), (50.0, 60.0, 70.0)


def config(root: Path, **changes) -> DataConfig:
    values = {"dataset": "folder", "root": str(root), "image_scale": (60, 40), "crop_size": (24, 32)}
    return DataConfig(**{**values, **changes})


def build(root: Path, split: str = "train", train: bool = False, limit: int | None = None, **changes):
    return build_dataset(config(root, **changes), split, train=train, mean=MEAN, std=STD, limit=limit)


def write_dataset(kind: str, root: Path, ids: np.ndarray) -> None:
    """One image and label of a public dataset."""
    names = {
        "ade20k": ("images/s/X.jpg", "annotations/s/X.png"),
        "camvid": ("images/s/X.jpg", "labels/s/X.png"),
        "cityscapes": ("leftImg8bit/s/town/X_leftImg8bit.png", "gtFine/s/town/X_gtFine_labelIds.png"),
    }[kind]
    for name, pixels in zip(names, (np.zeros((*ids.shape, 3), np.uint8), ids), strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name)


@pytest.mark.parametrize(("name", "module"), [("ade20k", "ade"), ("cityscapes", "cityscapes")])
def test_classes_and_palettes_are_those_of_mmsegmentation(name: str, module: str):
    package = importlib.util.find_spec("mmseg") or pytest.skip("mmsegmentation is not installed")
    source = Path(package.submodule_search_locations[0]) / "datasets" / f"{module}.py"
    calls = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Call)]
    original = next(
        {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
        for call in calls
        if [keyword.arg for keyword in call.keywords] == ["classes", "palette"]
    )
    assert SPECS[name].class_names == tuple(c.strip() for c in original["classes"])
    assert [list(color) for color in SPECS[name].palette] == original["palette"]


@pytest.mark.parametrize(("name", "classes"), [("ade20k", 150), ("cityscapes", 19), ("camvid", 11)])
def test_specs_are_consistent(name: str, classes: int):
    spec = SPECS[name]
    assert len(spec.class_names) == len(spec.palette) == len(set(spec.class_names)) == classes
    assert set(spec.label_ids.values()) == {*range(classes), 255}


def test_dataset_names():
    segmentation = {"ade20k", "cityscapes", "camvid", "folder"}
    depth = {"kitti", "nyu", "sunrgbd", "sevenscenes", "kitti_lidar", "depth_folder", "scannet", "diode", "eth3d"}
    rendered = {"hypersim", "vkitti"}
    names = dataset_names()
    perception = {"nyu_normals", "scannet_normals", "sintel_normals", "dis5k", "p3m10k", "aim500"}
    assert set(names) == segmentation | depth | rendered | perception | {"nuscenes"}
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("kind", "stored", "expected"),
    [
        ("ade20k", [0, 1, 2, 150], [255, 0, 1, 149]),
        ("camvid", [0, 10, 11, 255], [0, 10, 255, 255]),
        ("cityscapes", [7, 8, 33, 0, 9, 29, 31, 26], [0, 1, 18, 255, 255, 255, 16, 13]),
    ],
)
def test_stored_ids_become_train_ids(tmp_path: Path, kind: str, stored: list[int], expected: list[int]):
    write_dataset(kind, tmp_path, np.array([stored], np.uint8))
    dataset = build(tmp_path, "s", dataset=kind)
    assert dataset.ids == ["town/X" if kind == "cityscapes" else "X"]
    image, label = dataset.load(0)
    assert label.dtype == np.int64 and label.tolist() == [expected]
    assert image.shape == (1, len(stored), 3)


@pytest.mark.parametrize(("kind", "bad"), [("ade20k", 151), ("camvid", 12), ("cityscapes", 34)])
def test_label_ids_out_of_range_are_named(tmp_path: Path, kind: str, bad: int):
    write_dataset(kind, tmp_path, np.array([[1, bad]], np.uint8))
    with pytest.raises(DataError, match=rf"X.*\.png: contains label ids {bad}; expected ids of 0\.\."):
        build(tmp_path, "s", dataset=kind).load(0)


def test_evaluation_item(folder_dataset: Path):
    dataset = build(folder_dataset)
    item = dataset[1]
    image, label = dataset.load(1)
    assert item["id"] == "b" and item["image"].dtype == torch.float32 and item["label"].dtype == torch.int64
    assert item["image"].shape == (3, 40, 60)
    assert np.array_equal(item["label"].numpy(), label) and label.shape == (20, 30)
    assert dataset.name == "folder" and dataset.ignore_index == 255 and image.dtype == np.uint8
    assert dataset.class_names == ("road", "car", "sky") and len(set(dataset.palette)) == 3


def test_training_sample_depends_on_its_generator_alone(folder_dataset: Path):
    dataset = build(folder_dataset, train=True)
    one, same = (dataset.sample(0, np.random.default_rng(5)) for _ in range(2))
    other = dataset.sample(0, np.random.default_rng(6))
    assert one["image"].shape == (3, 24, 32) and one["label"].shape == (24, 32)
    assert one["image"].dtype == torch.float32 and one["label"].dtype == torch.int64
    assert torch.equal(one["image"], same["image"]) and torch.equal(one["label"], same["label"])
    assert not torch.equal(one["image"], other["image"])


def test_training_sample_is_padded_with_the_mean_colour(folder_dataset: Path):
    dataset = build(folder_dataset, train=True, ratio_range=(0.25, 0.25))
    item = dataset.sample(0, np.random.default_rng(0))
    assert (item["label"][10:] == 255).all() and (item["label"][:, 15:] == 255).all()
    assert (item["image"][:, 10:] == 0).all()
    assert (item["label"][:10, :15] != 255).all() and item["image"][:, :10, :15].abs().min() >= 0


def test_without_photometric_distortion_colours_are_kept(folder_dataset: Path):
    dataset = build(
        folder_dataset, train=True, photometric=False, ratio_range=(1.0, 1.0), image_scale=(30, 20), crop_size=(20, 30)
    )
    image, _ = dataset.load(0)
    sample = dataset.sample(0, np.random.default_rng(0))["image"].numpy().transpose(1, 2, 0) * STD + MEAN
    assert np.allclose(sample, image, atol=1e-3) or np.allclose(sample, image[:, ::-1], atol=1e-3)


def test_without_a_scale_pictures_keep_their_size(folder_dataset: Path):
    assert build(folder_dataset, image_scale=None)[0]["image"].shape == (3, 20, 30)
    training = build(folder_dataset, train=True, image_scale=None, ratio_range=(1.0, 1.0), crop_size=(99, 99))
    assert (training.sample(0, np.random.default_rng(0))["label"] != 255).sum() == 20 * 30


def test_training_and_evaluation_datasets_are_not_mixed_up(folder_dataset: Path):
    with pytest.raises(TypeError, match="train=False"):
        build(folder_dataset, train=True)[0]
    with pytest.raises(TypeError, match="train=True"):
        build(folder_dataset).sample(0, np.random.default_rng(0))


def test_limit(folder_dataset: Path):
    assert build(folder_dataset, limit=2).ids == ["a", "b"]
    assert len(build(folder_dataset, limit=99)) == 3
    with pytest.raises(DataError, match="limit is 0"):
        build(folder_dataset, limit=0)


def test_fingerprint_tells_datasets_apart(folder_dataset: Path):
    first = build(folder_dataset).fingerprint()
    assert first == build(folder_dataset, train=True).fingerprint() and len(first) == 64
    assert build(folder_dataset, limit=2).fingerprint() != first
    (folder_dataset / "images/train/a.jpg").write_bytes((folder_dataset / "images/train/a.jpg").read_bytes() + b" ")
    assert build(folder_dataset).fingerprint() != first


def test_dataset_can_be_sent_to_loader_workers(folder_dataset: Path):
    dataset = pickle.loads(pickle.dumps(build(folder_dataset)))
    assert isinstance(dataset, SegmentationDataset) and dataset[0]["id"] == "a"


def test_unicode_and_spaces_in_paths(tmp_path: Path):
    root = write_folder_dataset(tmp_path / "meine Straßen 街", ["Straße 1", "обзор", "a.b"])
    dataset = build(root)
    assert dataset.ids == ["Straße 1", "a.b", "обзор"]
    assert dataset[0]["image"].shape == (3, 40, 60)


def test_hidden_and_foreign_files_are_left_out(folder_dataset: Path):
    (folder_dataset / "images/train/._a.jpg").write_bytes(b"resource fork")
    (folder_dataset / "images/train/Thumbs.db").write_bytes(b"")
    assert build(folder_dataset).ids == ["a", "b", "c"]


def test_unknown_dataset(tmp_path: Path):
    with pytest.raises(DataError, match="unknown dataset 'coco'; expected one of ade20k"):
        build(tmp_path, dataset="coco")


@pytest.mark.parametrize("kind", ["ade20k", "cityscapes", "camvid"])
def test_missing_root_says_how_to_prepare_it(tmp_path: Path, kind: str):
    with pytest.raises(
        DataError, match=f"nowhere: no such folder; prepare it with `python -m data_prep {kind} --output"
    ):
        build(tmp_path / "nowhere", dataset=kind)


@pytest.mark.parametrize(
    ("kind", "folder"),
    [("ade20k", "images"), ("cityscapes", "leftImg8bit"), ("camvid", "images"), ("folder", "images")],
)
def test_missing_and_empty_split_are_named(tmp_path: Path, kind: str, folder: str):
    (tmp_path / "classes.json").write_text('{"names": ["x"]}')
    with pytest.raises(DataError, match=f"{folder}/train: cannot be listed"):
        build(tmp_path, dataset=kind)
    (tmp_path / folder / "train").mkdir(parents=True)
    with pytest.raises(DataError, match=rf"split 'train' has no images; expected {folder}/<split>"):
        build(tmp_path, dataset=kind)


def test_image_without_mask_is_named(folder_dataset: Path):
    (folder_dataset / "masks/train/b.png").unlink()
    with pytest.raises(DataError, match=r"b\.jpg: has no label map; expected .*masks/train/b\.png \(1 of 3"):
        build(folder_dataset)


def test_two_images_of_one_name(folder_dataset: Path):
    Image.new("RGB", (30, 20)).save(folder_dataset / "images/train/a.png")
    with pytest.raises(DataError, match="has the same name as"):
        build(folder_dataset)


def test_size_mismatch_names_both_files(folder_dataset: Path):
    Image.new("L", (31, 20)).save(folder_dataset / "masks/train/a.png")
    with pytest.raises(DataError, match=r"masks/train/a\.png: is 31 x 20, but its image .*a\.jpg is 30 x 20"):
        build(folder_dataset)[0]


def test_rotated_photograph_must_match_its_mask_upright(folder_dataset: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 30)).save(folder_dataset / "images/train/a.jpg", exif=exif)
    assert build(folder_dataset).load(0)[0].shape == (20, 30, 3)


def test_truncated_image_is_found_when_it_is_read(folder_dataset: Path):
    path = folder_dataset / "images/train/a.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"a\.jpg: cannot be decoded"):
        build(folder_dataset, train=True).sample(0, np.random.default_rng(0))


def test_settings_are_not_shared_between_datasets(folder_dataset: Path):
    data = config(folder_dataset)
    smaller = dataclasses.replace(data, image_scale=(30, 20))
    sizes = [build_dataset(d, "train", train=False, mean=MEAN, std=STD)[0]["image"].shape for d in (data, smaller)]
    assert sizes == [(3, 40, 60), (3, 20, 30)]
