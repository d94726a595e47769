"""What the page calls, without the page."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddp_repro
from ddp_repro.data.io import DataError
from ddp_repro.interop import load_checkpoint
from ddp_repro.settings.errors import ConfigError
from ddp_repro.web import session
from ddp_repro.workbook.models import list_models
from tests.web.conftest import SEEN, SIZE


@pytest.fixture
def weights(clone):
    return {each.name: each for each in list_models("mini", clone / "results")}


@pytest.fixture
def models(weights):
    return session.Models(list(weights.values()))


@pytest.mark.parametrize("name", SEEN)
def test_every_task_emerges_step_by_step_and_ends_as_the_public_prediction(name, clone, weights, models, tmp_path):
    chosen = weights[name]
    outcomes = models.predict(f"{name} · trained", str(clone / "photo.png"), 2, tmp_path)
    counts = [(len(outcome.stages), outcome.archive is not None) for outcome in outcomes]  # one object, which grows
    steps = 2 if chosen.recipe.model.diffusion else 1
    assert counts == [*((done, False) for done in range(1, steps + 2)), (steps + 1, True)]

    model = chosen.recipe.model.build()
    load_checkpoint(model, chosen.checkpoint())
    scale = chosen.recipe.data.image_scale
    expected = ddp_repro.predict(model.eval(), clone / "photo.png", steps=2, image_scale=scale).arrays
    with zipfile.ZipFile(next(tmp_path.glob("*.zip"))) as archive:
        names = archive.namelist()
        for kind, array in expected.items():
            with archive.open(f"photo_{name}_{kind}.npy") as file:
                np.testing.assert_array_equal(np.load(file), array)
    assert any(file.endswith(".png") for file in names)


def test_pictures_of_every_step_and_view(clone, models, tmp_path):
    *_, last = models.predict("ade20k_mini · trained", str(clone / "photo.png"), 3, tmp_path)
    assert list(last.stages) == ["encoder", "step 1", "step 2", "step 3"] and min(last.stages.values()) > 0
    assert "uncertainty (entropy)" in last.facts and 'class="square"' in last.facts
    for view in session.VIEWS:
        shown = [session.drawn(tmp_path, view, step) for step in (1, 2, 3)]
        assert len(set(shown)) == 3
        assert session.drawn(tmp_path, view, 10) == shown[-1]
        with Image.open(Path(shown[0])) as picture:
            assert picture.size == SIZE[::-1]


def test_what_has_no_uncertainty_has_no_picture_of_it(clone, models, tmp_path):
    *_, last = models.predict("genpercept_matte_mini · trained", str(clone / "photo.png"), 3, tmp_path)
    assert session.drawn(tmp_path, "Map", 1) and session.drawn(tmp_path, "Uncertainty", 1) is None
    assert "foreground share" in last.facts and "uncertainty" not in last.facts


@pytest.mark.parametrize("file", ["broken.png", "letter.jpg"])
def test_a_bad_picture_is_one_sentence(file, clone, models, tmp_path):
    picture = str(clone / file)
    with pytest.raises(DataError) as refused:
        next(models.predict("ade20k_mini · trained", picture, 3, tmp_path))
    assert session.sentence(refused.value, picture).startswith(f"{file}: ")
    with pytest.raises(ConfigError, match="Drop a picture first"):
        next(models.predict("ade20k_mini · trained", None, 3, tmp_path))


def test_an_error_in_the_middle_reaches_the_page(clone, models, tmp_path, monkeypatch):
    def breaks(*_, on_stage, **__):
        on_stage(session.Stage("encoder", 0.1))
        raise RuntimeError("not enough memory")

    monkeypatch.setattr(ddp_repro, "predict", breaks, raising=False)
    outcomes = models.predict("ade20k_mini · trained", str(clone / "photo.png"), 3, tmp_path)
    assert next(outcomes).stages == {"encoder": 0.1}
    with pytest.raises(RuntimeError, match="not enough memory"):
        next(outcomes)


def test_tasks_by_the_words_of_users(models, weights):
    assert models.tasks == ["segmentation", "matte", "normals", "depth"]
    assert models.names("depth") == ["kitti_mini · trained"]
    with pytest.raises(ConfigError, match="no model to show"):
        session.Models([])
