"""Records done again: what is compared, what cannot be run and why, and what is written down."""

import dataclasses
import json
import math
import shutil

import pytest
import torch
from workbook.fakes import make_record, write_records
from workbook.tiny import tiny, write_data

from ddp_repro import cli
from ddp_repro.evaluation.statistics import Estimate
from ddp_repro.interop.convert import convert
from ddp_repro.interop.weight_files import save_weights
from ddp_repro.predicting import recipe_and_weights
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.settings.training_seeds import seeded
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.models import list_models, load_model
from ddp_repro.workbook.runs.records import RecordError, find_records, save_record
from ddp_repro.workbook.runs.run import run, trained_model
from ddp_repro.workbook.runs.weights import kept_weights
from ddp_repro.workbook.verification import attempt, table
from ddp_repro.workbook.verification.verify import _between_trainings, verify

NAME, PRESET = "cityscapes_mini_baseline", "mini"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A clone's root with data and a finished run."""
    root = tmp_path_factory.mktemp("clone")
    write_data("cityscapes", root / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDP_REPRO_ROOT", str(root))
        run(tiny(NAME, "data", evaluation__steps="1", evaluation__seeds="0"), output="results", progress=False)
    return root


@pytest.fixture
def clone(finished, tmp_path, monkeypatch):
    """A copy of it that the test may change."""
    shutil.copytree(finished, tmp_path / "clone")
    monkeypatch.setenv("DDP_REPRO_ROOT", str(tmp_path / "clone"))
    return tmp_path / "clone"


def runs(clone):
    return clone / "results" / PRESET / "runs" / NAME


def only(**options):
    (found,) = verify([], PRESET, progress=False, **options)
    return found


def test_weights_that_are_here_are_evaluated_again(clone):
    found = only()
    assert found.attempt.what == "evaluation" and found.attempt.weights == "as recorded"
    assert found.attempt.difference["estimate"] == 0 and found.attempt.outcome == "reproduced"
    assert "reproduced: mIoU" in found.words and found.attempt.difference["count"] == 3
    (read,) = attempt.read_attempts(runs(clone))
    assert read == found.attempt
    only()  # again on this machine: in its place
    assert len(attempt.read_attempts(runs(clone))) == 1
    assert not [path for path in clone.iterdir() if path.name not in ("data", "results")]


def test_a_training_is_done_again_from_its_recipe(clone):
    (runs(clone) / "model.safetensors").unlink()
    found = only(train=True)
    assert found.attempt.what == "training" and found.attempt.weights == "trained anew"
    assert found.attempt.outcome == "reproduced" and abs(found.attempt.difference["estimate"]) < 0.03
    shown = table.reproduced_table(PRESET)
    assert shown.frame.iloc[0, 2] == "–" and shown.frame.iloc[0, -1] == "reproduced"
    assert shown.provenance["What"].tolist() == ["training"]


def test_half_precision_weights_of_the_repository_stand_in(clone):
    whole = runs(clone) / "model.safetensors"
    kept = kept_weights(NAME, PRESET, "results")
    kept.parent.mkdir()
    convert(whole, kept, recipe(NAME) and find_records(PRESET)[0].settings(), half=True)
    assert kept.stat().st_size < 0.6 * whole.stat().st_size
    whole.unlink()
    found = only()
    assert found.attempt.weights == "half precision" and abs(found.attempt.difference["estimate"]) < 1
    record = find_records(PRESET)[0]
    other = dataclasses.replace(record, checkpoint=dataclasses.replace(record.checkpoint, sha256="0" * 64))
    save_record(other, runs(clone) / "record.json")
    assert "its weights are not here" in only().words  # they are of another training


def test_half_precision_weights_draw_figures_and_are_never_analysed(clone):
    (record,) = find_records(PRESET)
    whole, kept = runs(clone) / "model.safetensors", kept_weights(NAME, PRESET, "results")
    kept.parent.mkdir()
    convert(whole, kept, record.settings(), half=True)
    expected = trained_model(record).state_dict()
    whole.unlink()
    for name, value in trained_model(record).state_dict().items():
        torch.testing.assert_close(value, expected[name], atol=1e-3, rtol=1e-3)
    with pytest.raises(ConfigError, match="a clone has records without weights"):
        trained_model(record, allow_half=False)
    of_another_training = dataclasses.replace(record.checkpoint, sha256="b" * 64)
    with pytest.raises(ConfigError, match="a clone has records without weights"):
        trained_model(dataclasses.replace(record, checkpoint=of_another_training))


def test_weights_of_the_repository_predict_where_nothing_was_trained(clone):
    whole, kept = runs(clone) / "model.safetensors", kept_weights(NAME, PRESET, "results")
    kept.parent.mkdir()
    convert(whole, kept, find_records(PRESET)[0].settings(), half=True)
    assert recipe_and_weights(NAME, None)[1] == whole  # what was trained here comes first
    assert [model.place for model in list_models(PRESET)] == [str(whole)]
    whole.unlink()
    chosen, weights = recipe_and_weights(NAME, None)
    assert weights == kept and chosen.name == NAME
    (model,) = list_models(PRESET)
    assert model.place == str(kept)
    loaded = load_model(chosen, kept).model
    assert {tensor.dtype for tensor in loaded.state_dict().values()} <= {torch.float32, torch.int64}


def test_a_weight_beyond_half_precision_is_refused(tmp_path):
    model = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(model.weight, 1e5)
    with pytest.raises(CheckpointError, match="weight holds 100000, which half precision cannot"):
        save_weights(model, tmp_path / "w.safetensors", half=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda clone: (runs(clone) / "model.safetensors").unlink(), "its weights are not here; --train trains them"),
        (lambda clone: shutil.rmtree(clone / "data"), "data"),
        (
            lambda clone: write_data("cityscapes", clone / "data") and next(
                (clone / "data" / "leftImg8bit" / "val").rglob("*.png")
            ).write_bytes(next((clone / "data" / "leftImg8bit" / "train").rglob("*.png")).read_bytes()),
            "the images here are not those of the record",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_run_says_why(clone, spoil, words):
    spoil(clone)
    found = only()
    assert found.attempt is None and words in found.reason and "cannot be run here, because" in found.words
    assert not (runs(clone) / attempt.FILE).exists()


def test_a_score_that_does_not_come_out_again_differs(clone, capsys):
    record = find_records(PRESET)[0]
    scores = [dataclasses.replace(score, miou=score.miou + 5) for score in record.scores]
    save_record(dataclasses.replace(record, scores=scores), runs(clone) / "record.json")
    assert cli.main(["verify", "--preset", PRESET]) == 1
    printed = capsys.readouterr().out
    assert f"{NAME}: differs: mIoU" in printed and "1 differs" in printed
    assert table.reproduced_table(PRESET).frame.iloc[0, -1] == "differs"


def test_trainings_that_take_too_long_are_not_begun(clone):
    found = only(train=True, budget=0.0)
    assert found.attempt is None and "more than is left" in found.reason


def test_wrong_commands_are_refused(clone, capsys):
    with pytest.raises(ConfigError, match=f"no record 'nonsense' under mini; there are: {NAME}"):
        list(verify(["nonsense"], PRESET))
    assert cli.main(["verify", "--preset", PRESET, "--budget", "1h"]) == 2
    assert "it needs --train" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "error", "outcome"),
    [
        (0.0, 0.0, "reproduced"), (0.01, 0.005, "reproduced"), (1.0, 0.1, "differs"), (-1.0, 0.1, "differs"),
        (1.0, 1.0, "undecided"), (0.02, math.inf, "undecided"),
    ],
)  # fmt: skip
def test_an_interval_decides(value, error, outcome):
    estimate = Estimate(value=value, error=error, freedom=1000, count=1001, unit="images", method="")
    assert attempt.judge(estimate, 0.03) == outcome


def test_another_training_is_held_against_the_spread_between_trainings(tmp_path):
    made = [
        make_record(settings=seeded(recipe(NAME), seed), miou={1: [value]}) for seed, value in enumerate((40, 41, 42))
    ]
    estimate = _between_trainings(made[0], made, "miou", 1, 1.5)
    assert estimate.error == pytest.approx(math.sqrt(2)) and estimate.freedom == 2
    assert attempt.judge(estimate, 0.03) == "within the spread"
    assert attempt.judge(_between_trainings(made[0], made[:2], "miou", 1, 1.5), 0.03) == "undecided"  # two are too few
    assert attempt.judge(_between_trainings(made[0], made, "miou", 1, 10.0), 0.03) == "differs"
    assert attempt.judge(_between_trainings(made[0], made[:1], "miou", 1, 10.0), 0.03) == "undecided"


def test_untried_records_are_named_below_the_table(tmp_path, clone):
    write_records(tmp_path, make_record(NAME))
    assert table.save_reproduced(PRESET, tmp_path) == []  # nothing was tried
    assert table.reproduced_table(PRESET, tmp_path).notes[-1] == f"Not tried: 1 of 1 records ({NAME})."
    only()
    assert {path.suffix for path in table.save_reproduced(PRESET)} >= {".md", ".html"}
    assert table.reproduced_table(PRESET).notes == table.NOTES


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 7, "attempts": []}', '{"schema": 1, "attempts": [{}]}'])
def test_damaged_attempts_are_named(tmp_path, content):
    (tmp_path / attempt.FILE).write_text(content)
    with pytest.raises(RecordError, match=attempt.FILE):
        attempt.read_attempts(tmp_path)


def test_attempts_are_json_without_infinities(clone):
    found = only()
    unknown = dataclasses.replace(found.attempt, machine="another", difference={"low": None, "high": None})
    attempt.save_attempt(unknown, runs(clone))
    text = (runs(clone) / attempt.FILE).read_text()
    assert len(json.loads(text)["attempts"]) == 2 and "Infinity" not in text
