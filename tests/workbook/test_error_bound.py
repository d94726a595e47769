"""What a depth model's spread means as an error: learnt on test images, kept beside the record, written by predict."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import ddp_repro
from ddp_repro.cli import main
from ddp_repro.evaluation.uncertainty.bounds import ErrorBound
from ddp_repro.interop.checkpoints import save_weights
from ddp_repro.store.paths import repository_root
from ddp_repro.workbook import catalogue
from ddp_repro.workbook.models import load_model
from ddp_repro.workbook.runs.bounds import error_bounds

CURVE = ErrorBound(0.68, (0.1, 0.2, 0.4), (0.5, 0.5, 2.0))
NAME = "sevenscenes_lite0"


@pytest.fixture
def kept(tmp_path):
    """The weights and the analysis that the repository holds."""
    results = repository_root() / "results/sevenscenes"
    for part in (f"weights/{NAME}.safetensors", f"runs/{NAME}/depth_uncertainty.json"):
        (tmp_path / part).parent.mkdir(parents=True)
        shutil.copy(results / part, tmp_path / part)
    return tmp_path / f"weights/{NAME}.safetensors"


def test_a_curve_between_its_corners_and_beyond():
    found = CURVE(np.array([[0.0, 0.15], [0.3, 9.0]], dtype=np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0.5, 0.5], [1.25, 2.0]], rtol=1e-6)


def test_predict_writes_the_bound_and_its_level(kept, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)).save("photo.png")
    command = ["predict", "photo.png", "--recipe", NAME, "--checkpoint", str(kept), "--arrays"]
    assert main(command) == 0
    curve = json.loads((tmp_path / f"runs/{NAME}/depth_uncertainty.json").read_text())["result"]["calibration"]
    spread, bound = (np.load(f"predictions/photo_{kind}.npy") for kind in ("uncertainty", "error_bound"))
    np.testing.assert_allclose(bound, np.interp(spread, curve["spread"], curve["metres"]), rtol=1e-5)
    line = json.loads((tmp_path / "predictions/predictions.jsonl").read_text())
    assert line["depth"]["error_level"] == 0.68
    assert line["depth"]["error_bound_m"] == pytest.approx(np.median(bound), abs=1e-4)
    with Image.open("predictions/photo_error_bound.png") as stored:
        scale = float(stored.text["depth_scale"])
        np.testing.assert_allclose(np.asarray(stored) / scale, bound, atol=0.6 / scale)
    model = ddp_repro.create_model(NAME, checkpoint=kept)
    assert ddp_repro.predict(model, "photo.png").error_level == 0.68
    assert ddp_repro.predict(model, "photo.png", steps=1).error_bound is None  # measured at three steps


def test_other_weights_have_no_bound(kept, tmp_path):
    recipe = catalogue.recipe(NAME)
    assert [*error_bounds(recipe, kept)] == [3]
    model = load_model(recipe, kept).model
    folder = tmp_path / f"runs/{NAME}"
    next(model.parameters()).data.add_(1)
    save_weights(model, folder / "model.safetensors")  # a training of another seed in the same place
    assert error_bounds(recipe, folder / "model.safetensors") == {}
    path = folder / "depth_uncertainty.json"
    analysis = json.loads(path.read_text())
    path.write_text(json.dumps(analysis | {"result": analysis["result"] | {"calibration": {}}}))  # of a single image
    assert error_bounds(recipe, kept) == {}
    path.unlink()
    assert error_bounds(recipe, kept) == load_model(recipe, kept).model.error_bounds == {}


def test_tasks_without_an_analysis_have_no_bound(kept):
    camvid = catalogue.recipe("camvid_map", "camvid")
    assert error_bounds(camvid, kept) == {}
