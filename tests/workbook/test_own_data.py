"""Images of one's own: recipes and results of their own, as many classes as the file names, prediction without it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
from PIL import Image

from ddp_repro import cli
from ddp_repro.interop.checkpoints import load_checkpoint
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.settings.overrides import override
from ddp_repro.store import paths
from ddp_repro.workbook import catalogue
from ddp_repro.workbook.runs.records import load_record
from ddp_repro.workbook.runs.training import train
from tests.data.depth_files import write_depth_folder
from tests.training.tiny import write_images

SMALL = [
    "train.iterations=2", "train.warmup_iterations=1", "train.backbone_weights=none", "model.backbone=test_resnet",
    "model.channels=16", "model.heads=2", "model.layers=1", "model.feedforward_channels=16", "train.batch_size=2",
    "train.device_batch_size=2", "data.image_scale=64,48", "data.crop_size=32,32", "evaluation.steps=1",
    "evaluation.seeds=0",
]  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A working folder outside any clone, with pictures of three classes in splits train and val."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(paths.ROOT_VARIABLE, str(tmp_path))
    images = write_images(tmp_path / "photos", count=4)
    for kind in ("images", "masks"):
        (images / kind / "test").rename(images / kind / "val")
    return tmp_path


def do(*words: str) -> int:
    return cli.main(list(words))


def test_from_a_folder_to_maps_without_it(place, capsys):
    palette = [[1, 2, 3], [40, 50, 60], [200, 100, 0]]
    (place / "photos/classes.json").write_text(json.dumps({"names": ["ground", "red", "blue"], "palette": palette}))
    assert do("train", "folder", "data.root=photos", *SMALL) == 0
    assert do("evaluate", "folder", "data.root=photos", *SMALL) == 0
    record = load_record(place / "results/own/runs/folder/record.json")
    assert record.preset == "own" and record.recipe["model"]["num_classes"] == 3
    assert record.dataset.classes == ["ground", "red", "blue"]
    shutil.copy(place / "photos/images/val/test0.png", place / "one.png")
    shutil.rmtree(place / "photos")
    assert do("predict", "one.png", "--recipe", "folder", "--steps", "1") == 0
    labels = Image.open(place / "predictions/one_labels.png")
    assert labels.getpalette()[:9] == [1, 2, 3, 40, 50, 60, 200, 100, 0] and set(np.unique(labels)) <= {0, 1, 2}
    line = json.loads((place / "predictions/predictions.jsonl").read_text().splitlines()[-1])
    assert set(line["classes"]) <= {"ground", "red", "blue"}


def test_weights_from_before_still_predict_with_their_folder(place, capsys):
    assert do("train", "folder", "data.root=photos", *SMALL) == 0
    weights = place / "results/own/runs/folder/model.safetensors"
    with safetensors.safe_open(weights, "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata.pop("classes"))["names"] == ["ground", "red", "blue"]
    tensors = safetensors.torch.load_file(weights)
    safetensors.torch.save_file(tensors, weights, metadata)
    assert do("predict", "photos/images/val/test0.png", "--recipe", "folder", "--steps", "1") == 0
    (place / "photos/classes.json").unlink()
    assert do("predict", "photos/images/val/test0.png", "--recipe", "folder", "--steps", "1", "--output", "b") == 2
    assert "classes.json: cannot be read" in capsys.readouterr().err
    safetensors.torch.save_file(tensors, weights, metadata | {"classes": '{"names": ["a"]}'})
    model = catalogue.recipe("folder")
    model = override(model, dict(word.split("=") for word in SMALL) | {"model.num_classes": 3}).model.build()
    with pytest.raises(CheckpointError, match="the classes inside the checkpoint are damaged"):
        load_checkpoint(model, weights)


def test_another_number_of_classes_is_refused_naming_both(place, capsys):
    assert do("train", "folder", "data.root=photos", "model.num_classes=5", *SMALL) == 2
    message = capsys.readouterr().err
    assert "model.num_classes is 5, but photos/classes.json has 3 classes" in message
    assert not (place / "results").exists()


@pytest.mark.parametrize("recipe", ["folder", "depth_folder"])
def test_without_the_folder_training_says_which_was_expected(place, recipe, capsys):
    assert do("train", recipe) == 2
    assert f"data/own{'_depth' if recipe == 'depth_folder' else ''}: no such folder" in capsys.readouterr().err


def test_depth_of_ones_own(place):
    for split in ("train", "val"):
        write_depth_folder(place / "frames", split, size=(48, 64))
    assert do("train", "depth_folder", "data.root=frames", *SMALL) == 0
    assert do("evaluate", "depth_folder", "data.root=frames", *SMALL) == 0
    record = load_record(place / "results/own/runs/depth_folder/record.json")
    assert record.recipe["evaluation"]["protocol"] == "indoor" and record.training.labels[0].median > 0
    shutil.rmtree(place / "frames/depth")
    assert do("predict", "frames/images/val/a.jpg", "--task", "depth", "--steps", "1") == 0


def test_a_model_without_data_says_what_it_lacks():
    with pytest.raises(ConfigError, match=r"model\.num_classes is none"):
        catalogue.recipe("folder").model.build()


def test_the_number_of_classes_of_a_public_set_can_be_left_to_it(data):
    recipe = override(catalogue.recipe("camvid_small"), {"model.num_classes": None, "data.root": str(data / "camvid")})
    assert task_named("segmentation").complete(recipe).model.num_classes == 11


def test_pages_of_the_preset_are_drawn_without_claims(place):
    train(override(catalogue.recipe("folder"), dict(word.split("=") for word in ["data.root=photos", *SMALL])))
    for command in (["render"], ["table", "claims"], ["table", "runs"], ["reproduce"]):
        assert do(*command, "--preset", "own") == 0
    assert (place / "results/own/index.html").is_file()
