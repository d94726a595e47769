"""What training says about labels before its first iteration: classes, ignored area, masks of 0 and 255, units."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddp_repro.data import survey as surveys
from ddp_repro.data.io import DataError
from ddp_repro.data.survey import Survey
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.overrides import override
from ddp_repro.settings.recipe import EvalConfig, Recipe
from ddp_repro.tasks.build import build_dataset
from ddp_repro.tasks.segmentation.survey import survey_labels
from ddp_repro.workbook import catalogue
from ddp_repro.workbook.runs.records import load_record
from ddp_repro.workbook.runs.run import run, train
from ddp_repro.workbook.runs.training import read_inputs
from tests.data.depth_files import write_depth_folder
from tests.training.tiny import tiny_recipe


def write_masks(root: Path, names: list[str], *masks: np.ndarray) -> Path:
    """A folder data set of these masks, with the same pictures in every split."""
    (root).mkdir(parents=True, exist_ok=True)
    (root / "classes.json").write_text(json.dumps({"names": names}))
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for i, mask in enumerate(masks):
            picture = rng.integers(0, 256, (*mask.shape, 3), np.uint8)
            Image.fromarray(picture).save(root / "images" / split / f"{i}.png")
            Image.fromarray(mask.astype(np.uint8)).save(root / "masks" / split / f"{i}.png")
    return root


def halves(left: int, right: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    mask = np.full(size, left)
    mask[:, size[1] // 2 :] = right
    return mask


def survey(recipe: Recipe) -> Survey:
    dataset = build_dataset(recipe.data, recipe.data.train_split, train=True, mean=(0, 0, 0), std=(1, 1, 1))
    return task_named(recipe.model.task).survey(dataset, recipe)


def of_masks(root: Path, names: list[str], *masks: np.ndarray) -> Survey:
    recipe = tiny_recipe(write_masks(root, names, *masks), model__num_classes=len(names))
    return survey(recipe)


def test_counts_are_those_of_the_files(tmp_path):
    counted = of_masks(tmp_path, ["road", "car"], halves(0, 1), halves(0, 255))
    assert counted.pixels == {"road": 3072, "car": 1536} and counted.ignored == 1536 and counted.warnings == []
    assert str(counted) == "train (2 images): road 50.0%, car 25.0%, ignored 25.0%"


def test_masks_of_0_and_255_are_known_by_name(tmp_path):
    counted = of_masks(tmp_path, ["background", "object"], halves(0, 255))
    assert counted.warnings[0].startswith("the masks of train hold 0 and 255 only: 255 is ignored; for a foreground")
    assert "1 of 2 classes never occur in train: object" in counted.warnings


def test_one_class_and_masks_of_0_and_255(tmp_path):
    assert "name two classes" in of_masks(tmp_path, ["object"], halves(0, 255)).warnings[0]


def test_one_class_drawn_everywhere_is_no_fault(tmp_path):
    assert of_masks(tmp_path, ["object"], halves(0, 0)).warnings == []


def test_a_class_that_never_occurs(tmp_path):
    names = [f"class {i}" for i in range(14)]
    (warning,) = of_masks(tmp_path, names, halves(0, 1)).warnings
    assert warning.startswith("12 of 14 classes never occur in train: class 2, class 3")
    assert warning.endswith("class 11 and 2 more")


def test_much_ignored_area(tmp_path):
    mask = halves(0, 255)
    mask[:4, :32] = 1
    mask[44:, :32] = 255
    assert of_masks(tmp_path, ["a", "b"], mask).warnings == ["54% of the pixels of train are ignored"]


def test_nothing_but_ignored_pixels(tmp_path):
    (warning,) = of_masks(tmp_path, ["a", "b"], halves(255, 255)).warnings
    assert warning == "every pixel of train is ignored: there is nothing to learn from"


def test_a_label_of_no_class_ends_a_training_before_it_begins(tmp_path):
    recipe = tiny_recipe(write_masks(tmp_path / "data", ["a", "b"], halves(0, 1), halves(1, 7)), model__num_classes=2)
    with pytest.raises(DataError, match=r"masks/train/1\.png: contains label ids 7; expected ids of 0\.\.1, 255"):
        train(recipe, output=tmp_path / "results", progress=False)
    assert not (tmp_path / "results").exists()


def test_of_many_images_a_spread_part_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(surveys, "LIMIT", 2)
    root = write_masks(tmp_path, ["a", "b", "c"], halves(0, 0), halves(1, 1), halves(2, 2))
    counted = survey(tiny_recipe(root))
    assert (counted.images, counted.split_images) == (2, 3)
    assert counted.pixels == {"a": 3072, "b": 0, "c": 3072}
    assert "2 of 3 images" in str(counted)


def test_the_first_unreadable_file_stops_the_reading(tmp_path):
    root = write_masks(tmp_path, ["a"], *[halves(0, 0)] * 60)
    dataset = build_dataset(tiny_recipe(root).data, "train", train=True, mean=(0, 0, 0), std=(1, 1, 1))
    dataset.samples[0].label.write_bytes(b"x")
    with pytest.raises(DataError, match=r"0\.png: cannot be opened"):
        survey_labels(dataset.spec, dataset.samples, "train")


def test_training_says_it_and_writes_it_down(tmp_path, capsys):
    names = ["ground", "red", "blue"]
    recipe = tiny_recipe(write_masks(tmp_path / "data", names, *[halves(0, 1)] * 4), train__iterations=2)
    record = run(recipe, output=tmp_path / "results", progress=False)
    said = capsys.readouterr().err
    assert "tiny: train (4 images): ground 50.0%, red 50.0%, blue 0.0%, ignored 0.0%" in said
    assert "warning: tiny: 1 of 3 classes never occur in train: blue\n" in said
    folder = tmp_path / "results/mini/runs/tiny"
    inputs = read_inputs(folder)
    assert inputs.labels == record.training.labels == load_record(folder / "record.json").training.labels
    assert inputs.labels[0].pixels == {"ground": 6144, "red": 6144, "blue": 0}
    train(recipe, output=tmp_path / "results", progress=False)  # finished: neither counted nor said again
    assert "never occur" not in capsys.readouterr().err and read_inputs(folder) == inputs


def depth_recipe(root: Path, protocol: str | None = "indoor", **changes: object) -> Recipe:
    plain = tiny_recipe(root, data__dataset="depth_folder", data__image_scale=None, model__task="depth", **changes)
    return override(plain, {"evaluation": EvalConfig(protocol=protocol)} if protocol else {})


def write_depth(root: Path, metres: float, unit: int) -> Path:
    root = write_depth_folder(root)
    for path in (root / "depth/train").glob("*.png"):
        stored = np.full((24, 32), round(metres * 1000), np.uint16)
        stored[:6] = 0
        Image.fromarray(stored).save(path)
    (root / "depth.json").write_text(json.dumps({"depth_scale": unit}))
    return root


def test_depth_is_counted(tmp_path):
    counted = survey(depth_recipe(write_depth(tmp_path, 2.5, 1000)))
    assert (counted.pixels, counted.ignored, counted.median) == ({"measurement": 1728}, 576, 2.5)
    assert counted.warnings == []
    assert str(counted) == "train (3 images): measurement 75.0%, ignored 25.0%, 2.5 to 2.5 m, median 2.5 m"


@pytest.mark.parametrize("unit", [100, 10_000])
def test_a_plausible_wrong_unit_is_warned_of(tmp_path, unit):
    (warning,) = survey(depth_recipe(write_depth(tmp_path, 2.5, unit))).warnings
    assert f"depth_scale {unit}" in warning and "0.4 to 7.5 m is usual for a cap of 10 m" in warning


def test_without_protocol_the_models_cap_is_the_measure(tmp_path):
    recipe = depth_recipe(write_depth(tmp_path, 2.5, 1000), None, model__max_depth=80.0)
    assert "3.2 to 60 m is usual for a cap of 80 m" in survey(recipe).warnings[0]


def test_an_impossible_unit_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"a\.png: its median depth is 2\.5e\+03 m with depth_scale 1"):
        survey(depth_recipe(write_depth(tmp_path, 2.5, 1)))


def test_depth_maps_without_a_measurement(tmp_path):
    root = write_depth(tmp_path, 2.5, 1000)
    Image.fromarray(np.zeros((24, 32), np.uint16)).save(root / "depth/train/b.png")
    assert survey(depth_recipe(root)).warnings == ["1 of 3 depth maps of train hold no measurement"]
    for name in "ac":
        Image.fromarray(np.zeros((24, 32), np.uint16)).save(root / f"depth/train/{name}.png")
    assert survey(depth_recipe(root)).warnings == [
        "no depth map of train holds a measurement: there is nothing to learn from"
    ]


@pytest.mark.parametrize(
    ("name", "folder", "median"),
    [("sevenscenes_lite0", "sevenscenes", 1.9), ("kitti_lidar_lite0", "kitti_lidar_seq", 7.3)],
)
def test_real_sets_are_plausible(data, name, folder, median):
    counted = survey(override(catalogue.recipe(name), {"data.root": str(data / folder)}))
    assert counted.warnings == [] and counted.median == pytest.approx(median, abs=0.05)
