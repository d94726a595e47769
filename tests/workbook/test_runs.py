"""Runs: equal work is skipped, other work refused or redone, and a failure loses nothing."""

import dataclasses
import json
import shutil
import uuid

import pytest
from workbook.tiny import tiny, write_data

from ddp_repro import cli, training
from ddp_repro.data.io import DataError
from ddp_repro.interop.weight_files import save_weights
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.samples import segmentation as trajectories
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.settings.overrides import override
from ddp_repro.store import paths
from ddp_repro.workbook import catalogue
from ddp_repro.workbook.runs import provenance, works
from ddp_repro.workbook.runs import run as runs
from ddp_repro.workbook.runs import training as trainings
from ddp_repro.workbook.runs.records import load_record
from ddp_repro.workbook.runs.run import evaluate, run, run_table, train, trained_model
from ddp_repro.workbook.tables.table import _provenance

NAME = "cityscapes_mini"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data("cityscapes", tmp_path_factory.mktemp("data") / "cityscapes")


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A finished run, made once; tests take copies of it."""
    output = tmp_path_factory.mktemp("results")
    run(tiny(NAME, data), output=output, progress=False)
    return output


@pytest.fixture
def output(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "results")


@pytest.fixture
def folder(output):
    return output / "mini" / "runs" / NAME


@pytest.fixture
def calls(monkeypatch):
    """Which of the two expensive parts were called, with the real thing behind them."""
    made = []

    def spy(name, function):
        def call(*arguments, **options):
            made.append(name if name == "evaluate" else ("resume" if options.get("resume", True) else "anew"))
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(runs, "evaluate_model", spy("evaluate", runs.evaluate_model))
    monkeypatch.setattr(training, "train", spy("train", training.train))
    return made


def test_record_of_a_run(output, data, folder):
    record = load_record(folder / "record.json")
    assert (record.run, record.preset, record.verdict) == (NAME, "mini", "trend only")
    assert [(s.steps, s.seed) for s in record.scores] == [(1, 0), (1, 1), (3, 0), (3, 1)]
    assert all(0 <= s.miou <= 100 and len(s.iou) == 19 for s in record.scores)
    assert (record.dataset.images, record.dataset.split_images, record.dataset.split) == (3, 3, "val")
    assert record.checkpoint.sha256 == provenance.weights_sha256(folder / "model.safetensors")
    assert record.checkpoint.origin == "ddp_repro"
    assert record.training.iterations == 2
    assert record.recipe["data"]["root"] == "cityscapes"
    assert "torch" in record.environment.packages


def test_equal_work_is_skipped(output, data, calls, capsys):
    run(tiny(NAME, data), output=output, progress=False)
    assert calls == []
    assert "skipped" in capsys.readouterr().err


def test_saved_predictions_are_scored_without_the_model(output, data, tmp_path, capsys):
    record = evaluate(tiny(NAME, data), output=output, predictions=tmp_path / "label maps", progress=False)
    assert cli.main(["rescore", str(tmp_path / "label maps"), NAME, f"data.root={data}"]) == 0
    printed = capsys.readouterr().out
    for score in record.scores:
        assert f"{score.steps} steps, seed {score.seed}: mIoU {score.miou:.2f}" in printed


def test_settings_without_influence_do_not_count(output, data, calls):
    run(tiny(NAME, data, train__log_every=1, evaluation__batch_size=1), output=output, progress=False)
    assert calls == []


def test_another_recipe_is_refused_and_changes_nothing(output, data, folder, calls):
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(ConfigError, match=r"train\.learning_rate was 0\.001, is 0\.5.*--overwrite"):
        run(tiny(NAME, data, train__learning_rate=0.5), output=output, progress=False)
    with pytest.raises(ConfigError, match=r"another training \(train\.learning_rate"):
        train(tiny(NAME, data, train__learning_rate=0.5), output=output, progress=False)
    assert calls == []
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_overwrite_trains_another_recipe(output, data, folder, calls):
    old = provenance.weights_sha256(folder / "model.safetensors")
    record = run(tiny(NAME, data, train__learning_rate=0.5), output=output, overwrite=True, progress=False)
    assert calls == ["anew", "evaluate"]
    assert record.checkpoint.sha256 == provenance.weights_sha256(folder / "model.safetensors") != old
    assert not (folder / "previous.safetensors").exists()


def test_overwrite_repeats_no_equal_work(output, data, calls):
    run(tiny(NAME, data), output=output, overwrite=True, progress=False)
    assert calls == []


def test_evaluation_settings_do_not_retrain(output, data, folder, calls):
    weights = provenance.weights_sha256(folder / "model.safetensors")
    changed = tiny(NAME, data, evaluation__steps="1,2")
    with pytest.raises(ConfigError, match=r"evaluation\.steps"):
        run(changed, output=output, progress=False)
    record = run(changed, output=output, overwrite=True, progress=False)
    assert calls == ["resume", "evaluate"]
    assert record.steps == [1, 2]
    assert record.checkpoint.sha256 == weights


@pytest.fixture
def edited(monkeypatch):
    """Changes the code of everything as an edit would; with a name, also what a probe gives."""

    def edit(probe=None, value=0.0):
        edition = {"ddp_repro": str(uuid.uuid4())}
        monkeypatch.setattr(works, "code_of", lambda *_: edition)
        if probe:
            old = getattr(works, probe)
            monkeypatch.setattr(works, probe, lambda *given: old(*given) | {"tally miou": value})

    return edit


def test_other_code_of_the_same_behaviour_is_current_and_says_so(output, data, folder, calls, edited):
    before = load_record(folder / "record.json")
    edited()
    after = run(tiny(NAME, data), output=output, progress=False)
    assert calls == [] and after.confirmed == provenance.code()
    assert load_record(folder / "record.json") == after == dataclasses.replace(before, confirmed=after.confirmed)
    assert "behaves the same at" in _provenance(after)["Code"] and "behaves" not in _provenance(before)["Code"]


def test_code_that_scores_otherwise_evaluates_again(output, data, calls, edited, capsys):
    edited("probe_scores", 0.75)
    run(tiny(NAME, data), output=output, progress=False)
    assert calls == ["resume", "evaluate"]
    assert "the code behaves otherwise: tally miou was" in capsys.readouterr().err


def test_code_that_trains_otherwise_trains_anew(output, data, calls, edited, capsys):
    edited("probe_weights", 0.75)
    run(tiny(NAME, data), output=output, progress=False)
    assert calls == ["anew", "evaluate"]
    assert "the code behaves otherwise: tally miou is new; training anew" in capsys.readouterr().err


def test_a_record_of_an_earlier_form_is_made_anew_and_says_why(output, data, folder, calls, capsys):
    values = json.loads((folder / "record.json").read_text())
    del values["work"], values["training"]["work"]
    (folder / "record.json").write_text(json.dumps(values))
    run(tiny(NAME, data), output=output, progress=False)
    assert calls == ["resume", "evaluate"]
    assert "of an earlier form" in capsys.readouterr().err


def test_changed_images_are_noticed(output, data, calls, tmp_path, capsys):
    other = shutil.copytree(data, tmp_path / "cityscapes")
    picture = min((other / "leftImg8bit" / "train").rglob("*.png"))
    picture.write_bytes(picture.read_bytes() + b"\0")
    run(tiny(NAME, other), output=output, progress=False)
    assert calls == ["anew", "evaluate"]
    assert "other images; training anew" in capsys.readouterr().err


def test_failed_evaluation_keeps_the_record(output, data, folder, monkeypatch):
    before = (folder / "record.json").read_bytes()
    monkeypatch.setattr(runs, "evaluate_model", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("not finite")))
    with pytest.raises(RuntimeError, match="not finite"):
        run(tiny(NAME, data, evaluation__steps="1"), output=output, overwrite=True, progress=False)
    assert (folder / "record.json").read_bytes() == before


def test_failed_training_keeps_the_old_weights(output, data, folder, monkeypatch):
    before = (folder / "record.json").read_bytes(), (folder / "model.safetensors").read_bytes()
    with monkeypatch.context() as broken:
        broken.setattr(training, "train", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("diverged")))
        with pytest.raises(RuntimeError, match="diverged"):
            run(tiny(NAME, data, train__learning_rate=0.5), output=output, overwrite=True, progress=False)
    assert (folder / "record.json").read_bytes() == before[0]
    assert (folder / "previous.safetensors").read_bytes() == before[1]
    record = run(tiny(NAME, data, train__learning_rate=0.5), output=output, overwrite=True, progress=False)
    assert record.recipe["train"]["learning_rate"] == 0.5


def test_clone_with_records_but_no_weights_is_finished(output, data, folder, calls):
    record = load_record(folder / "record.json")
    (folder / "model.safetensors").unlink()
    (folder / "training.json").unlink()
    assert run(tiny(NAME, data), output=output, progress=False) == record
    assert calls == []
    with pytest.raises(ConfigError, match="a clone has records without weights"):
        trained_model(record, output)


def test_damaged_record_is_reported_not_overwritten(output, data, folder):
    (folder / "record.json").write_text("{")
    with pytest.raises(ValueError, match=r"record\.json is not a JSON file"):
        run(tiny(NAME, data), output=output, progress=False)


def test_evaluate_needs_finished_weights(data, tmp_path):
    with pytest.raises(ConfigError, match="no finished weights"):
        evaluate(tiny(NAME, data), output=tmp_path, progress=False)


def test_given_checkpoint_is_evaluated_without_training(finished, data, tmp_path, calls):
    weights = finished / "mini" / "runs" / NAME / "model.safetensors"
    options = {"checkpoint": weights, "output": tmp_path, "progress": False}
    record = evaluate(tiny(NAME, data), **options)
    assert calls == ["evaluate"]
    assert record.training is None
    assert record.checkpoint.file == "model.safetensors"
    assert evaluate(tiny(NAME, data), **options) == record
    assert calls == ["evaluate"]
    with pytest.raises(ConfigError, match="is trained here"):
        run(tiny(NAME, data), output=tmp_path, progress=False)


def test_trained_model_predicts(output, data, folder):
    record = load_record(folder / "record.json")
    model = trained_model(record, output)
    assert not model.training
    dataset = runs.evaluation_dataset(tiny(NAME, data), model)
    assert model.sample(dataset[0]["image"][None], steps=2).shape[1] == 19


def test_trajectory_beside_the_record(folder):
    trajectory = trajectories.load_trajectory(folder / trajectories.FILE)
    steps, height, width = trajectory.predictions.shape
    assert steps == 10
    assert trajectory.image.shape[:2] == trajectory.label.shape == (32, 64)
    assert trajectory.maps.shape == (10, height, width, 3)
    assert trajectory.uncertainty.shape == (height, width)
    assert trajectory.uncertainty.min() >= 0
    assert trajectory.uncertainty.max() <= 1
    assert len(trajectory.class_names) == len(trajectory.palette) == 19
    assert (folder / trajectories.FILE).stat().st_size < 100_000


def test_baseline_has_one_score_and_no_trajectory(data, tmp_path):
    record = run(tiny(f"{NAME}_baseline", data, evaluation__steps="1"), output=tmp_path, progress=False)
    (score,) = record.scores
    assert score.seed is None
    assert record.seeds == []
    assert not (tmp_path / "mini" / "runs" / f"{NAME}_baseline" / trajectories.FILE).exists()


def test_multi_scale_test_keeps_its_own_record(output, data, folder, calls):
    recipe = tiny(NAME, data, evaluation__scales="0.5,1.0", evaluation__flip="true", evaluation__steps="1")
    record = run(recipe, output=output, progress=False)
    assert calls == ["resume", "evaluate"]
    assert (folder.with_name(f"{NAME}-ms") / "record.json").is_file()
    assert record.recipe["evaluation"]["flip"]
    assert load_record(folder / "record.json").run == NAME


def test_training_starts_from_another_recipes_weights(output, data, calls, monkeypatch):
    monkeypatch.setattr(trainings, "named_recipe", lambda name, preset: pytest.fail("trained already"))
    recipe = tiny(NAME, data, train__initialize_from=NAME, train__self_aligned="same_noise")
    recipe = dataclasses.replace(recipe, name=f"{NAME}_aligned")
    record = run(recipe, output=output, progress=False)
    assert calls == ["anew", "evaluate"]
    assert record.recipe["train"]["initialize_from"] == NAME


def test_weights_of_unknown_origin_are_not_replaced(data, tmp_path):
    weights = paths.run_folder(tmp_path, "mini", NAME) / "model.safetensors"
    weights.parent.mkdir(parents=True)
    save_weights(build_model(tiny(NAME, data).model), weights)
    before = weights.read_bytes()
    with pytest.raises(ConfigError, match="unknown origin"):
        run(tiny(NAME, data), output=tmp_path, progress=False)
    weights.write_bytes(b"mine")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        run(tiny(NAME, data), output=tmp_path, progress=False)
    assert weights.read_bytes() == b"mine" != before


def test_weights_trained_without_the_workbook_are_taken_over(output, data, folder, calls):
    weights = (folder / "model.safetensors").read_bytes()
    for name in ("training.json", "record.json"):
        (folder / name).unlink()
    record = run(tiny(NAME, data), output=output, progress=False)
    assert calls == ["resume", "evaluate"]
    assert (record.training.iterations, record.training.code_fingerprint) == (2, "unknown")
    assert (folder / "model.safetensors").read_bytes() == weights
    run(tiny(NAME, data), output=output, overwrite=True, progress=False)
    assert calls == ["resume", "evaluate"]


def test_settings_younger_than_a_record_have_their_default_there(output, data, folder, calls):
    path = folder / "record.json"
    values = json.loads(path.read_text())
    del values["recipe"]["model"]["time_difference"]
    path.write_text(json.dumps(values))
    run(tiny(NAME, data), output=output, progress=False)
    assert calls == []


def test_mini_data_is_written_once(monkeypatch, tmp_path):
    from data_prep import mini

    written = []
    monkeypatch.setattr(mini, "write_mini", lambda dataset, root: (written.append(dataset), root.mkdir(parents=True)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(paths.ROOT_VARIABLE, str(tmp_path))
    recipe = catalogue.recipe(NAME)
    trainings.prepare_data(recipe)
    trainings.prepare_data(recipe)
    assert written == ["cityscapes"]
    trainings.prepare_data(override(recipe, {"data.root": str(tmp_path / "data/mini/cityscapes")}))
    trainings.prepare_data(override(dataclasses.replace(recipe, preset="paper"), {"data.root": str(tmp_path / "x")}))
    assert written == ["cityscapes"]


@pytest.mark.parametrize("name", ["cityscapes_mini", "nyu_mini", "nuscenes_mini_camera", "sunrgbd_mini"])
@pytest.mark.parametrize("command", [run, train, evaluate])
def test_a_mistyped_root_is_not_filled_with_synthetic_data(name, command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(paths.ROOT_VARIABLE, str(tmp_path))
    recipe = override(catalogue.recipe(name), {"data.root": "data/mini/cityscpaes"})
    if recipe.weights_of and command is train:
        pytest.skip("it is not trained")
    made = f"ddp-repro data mini --dataset {recipe.data.dataset} --output data/mini/cityscpaes"
    with pytest.raises(DataError, match=f"data/mini/cityscpaes: no such folder; `{made}`"):
        command(recipe, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_relative_paths_start_from_the_clone(monkeypatch):
    monkeypatch.chdir(paths.repository_root() / "notebooks")
    assert paths.resolve("results") == paths.repository_root() / "results"


def test_table_refuses_a_recipe_of_another_one(tmp_path):
    with pytest.raises(
        ConfigError, match=r"ddp_table1 has no recipe 'cityscapes_mini' under mini; it has: ade20k_mini"
    ):
        run_table("ddp_table1", "mini", rows=["cityscapes_mini"], output=tmp_path)


def test_rows_without_official_weights_say_so(tmp_path, capsys):
    rows = ["ade20k_mini", "ade20k_mini-seed1"]
    assert run_table("ddp_table1", "mini", rows=rows, checkpoint="official", output=tmp_path) == []
    assert "ade20k_mini: the authors published no weights; not run" in capsys.readouterr().err


def test_training_inputs_hold_no_absolute_path(folder, data):
    content = json.loads((folder / "training.json").read_text())
    assert str(data) not in json.dumps(content)
    assert not any(name.startswith("evaluation") for name in content["work"]["settings"])


def test_a_lost_companion_file_is_made_anew(output, data, folder, calls, capsys):
    before = trajectories.load_trajectory(folder / trajectories.FILE)
    (folder / trajectories.FILE).unlink()
    run(tiny(NAME, data), output=output, progress=False)
    assert calls == [] and "trajectory.npz is gone; made anew" in capsys.readouterr().err
    after = trajectories.load_trajectory(folder / trajectories.FILE)
    assert after.image_id == before.image_id and (after.predictions == before.predictions).mean() > 0.99
    (folder / trajectories.FILE).unlink()
    evaluate(tiny(NAME, data), output=output, overwrite=True, progress=False)
    assert calls == [] and (folder / trajectories.FILE).is_file()


def test_a_lost_companion_file_without_weights_needs_overwrite(output, data, folder, calls, capsys):
    for file in (trajectories.FILE, "model.safetensors"):
        (folder / file).unlink()
    run(tiny(NAME, data), output=output, progress=False)
    assert calls == [] and "so are the weights to make it from; --overwrite trains anew" in capsys.readouterr().err
    run(tiny(NAME, data), output=output, overwrite=True, progress=False)
    assert calls[-1] == "evaluate" and (folder / trajectories.FILE).is_file()
