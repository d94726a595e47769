"""A recipe that takes parts of its weights from other recipes trains those first, and knows when they change."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from workbook.tiny import tiny, write_data

from ddp_repro.networks.identity import weights_hash
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.workbook.runs import training as trainings
from ddp_repro.workbook.runs.provenance import public_recipe
from ddp_repro.workbook.runs.training import check_training, train

NAME, SOURCE = "cityscapes_mini", "cityscapes_mini_baseline"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data("cityscapes", tmp_path_factory.mktemp("data") / "cityscapes")


@pytest.fixture
def small(data, monkeypatch):
    """Recipes of the catalogue are tiny too."""
    monkeypatch.setattr(trainings, "named_recipe", lambda name, preset: tiny(name, data))
    return data


def second(data, **changes):
    changes = {"train__weights": f"backbone=recipe:{SOURCE}", "train__frozen": "backbone", **changes}
    return dataclasses.replace(tiny(NAME, data, **changes), name="second")


def test_the_source_is_trained_first_and_its_part_is_taken(small, tmp_path):
    result = train(second(small), output=tmp_path, progress=False)
    source = load_file(tmp_path / "mini/runs" / SOURCE / "model.safetensors")
    weights = load_file(result.checkpoint)
    backbone = [name for name in weights if name.startswith("backbone.")]
    assert backbone and all(torch.equal(weights[name], source[name]) for name in backbone)
    inputs = json.loads((tmp_path / "mini/runs/second/training.json").read_text())
    assert inputs["work"]["inputs"]["weights that backbone starts from"] == weights_hash(source)
    assert inputs["work"]["settings"]["train.weights"] == [f"backbone=recipe:{SOURCE}"]


def test_another_source_is_another_training(small, tmp_path, capsys):
    first = train(second(small), output=tmp_path, progress=False)
    written = first.checkpoint.stat().st_mtime_ns
    train(second(small), output=tmp_path, progress=False)
    assert first.checkpoint.stat().st_mtime_ns == written
    path = tmp_path / "mini/runs" / SOURCE / "model.safetensors"
    changed = {name: value + 0.01 if value.is_floating_point() else value for name, value in load_file(path).items()}
    save_file(changed, path)
    train(second(small), output=tmp_path, progress=False)
    assert first.checkpoint.stat().st_mtime_ns != written
    assert "second: other weights that backbone starts from; training anew" in capsys.readouterr().err


def test_trainings_of_an_earlier_form_are_done_anew_and_say_why(small, tmp_path, capsys):
    recipe = second(small)
    first = train(recipe, output=tmp_path, progress=False)
    path, written = tmp_path / "mini/runs/second/training.json", first.checkpoint.stat().st_mtime_ns
    data = json.loads(path.read_text())["work"]["inputs"]["images"]
    path.write_text(json.dumps({"recipe": public_recipe(recipe), "data": data, "code": "c" * 64}))
    train(recipe, output=tmp_path, progress=False)
    assert first.checkpoint.stat().st_mtime_ns != written
    assert "training anew" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model__channels": 16, "train__weights": f"decoder=recipe:{SOURCE}"}, CheckpointError,
         rf"{SOURCE} \(for decoder\) does not fit the model: .* of another shape"),
        ({"train__weights": f"head=recipe:{SOURCE}"}, ConfigError, "has no module 'head'; its parts are backbone"),
        ({"train__frozen": "segmentor"}, ConfigError, "has no module 'segmentor'"),
        ({"train__weights": "backbone=no/such.safetensors"}, CheckpointError, r"no/such\.safetensors: no such file"),
    ],
)  # fmt: skip
def test_what_cannot_fit_is_refused_before_anything_is_trained(small, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        check_training(second(small, **changes), tmp_path, overwrite=False)
    assert not list(tmp_path.iterdir())


def test_an_unknown_recipe_is_refused(data, tmp_path):
    with pytest.raises(ConfigError, match="no_such_recipe"):
        check_training(second(data, train__weights="backbone=recipe:no_such_recipe"), tmp_path, overwrite=False)


def test_records_name_no_folder_of_the_user(data, tmp_path):
    recipe = second(data, train__weights=f"backbone={tmp_path}/a.safetensors,decoder=recipe:{SOURCE}")
    assert public_recipe(recipe)["train"]["weights"] == ["backbone=a.safetensors", f"decoder=recipe:{SOURCE}"]
    whole = tiny(NAME, data, train__initialize_from=str(tmp_path / "b.safetensors"))
    assert public_recipe(whole)["train"]["initialize_from"] == "b.safetensors"
