"""What is undefined (no pixel, no depth, no sample) ends in the record and on the page, never in a traceback."""

import dataclasses
import json
import math
import re

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image
from workbook.fake_analyses import make_uncertainty, write_analyses
from workbook.fake_depth import make_depth_record
from workbook.fake_map_use import make_map_use
from workbook.fakes import make_record, write_records

from ddp_repro import cli
from ddp_repro.evaluation.measure import json_ready, mean_text, number_text, spread
from ddp_repro.interop.weight_files import read_state_dict, save_weights
from ddp_repro.papers.ddp.claims import claims_table
from ddp_repro.papers.ddp.diagnostics.drift import evaluate_drift
from ddp_repro.papers.ddp.diagnostics.map_use import evaluate_map_use
from ddp_repro.papers.ddp.figures import figure3
from ddp_repro.papers.ddp.figures.uncertainty import figure_uncertainty
from ddp_repro.papers.ddp.tables.ablations import mean_and_spread
from ddp_repro.papers.ddp.tables.uncertainty import uncertainty_table
from ddp_repro.protocols.registry import task_named
from ddp_repro.settings.overrides import override, parse_overrides
from ddp_repro.tasks.build import build_dataset
from ddp_repro.tasks.depth.metrics import DepthErrors
from ddp_repro.tasks.depth.protocols import PROTOCOLS
from ddp_repro.tasks.depth.uncertainty import SPREADS, evaluate_depth_uncertainty
from ddp_repro.tasks.segmentation.uncertainty import evaluate_uncertainty
from ddp_repro.training import train
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.claims.gate import describe_map_use, judge_map_use
from ddp_repro.workbook.index import write_index
from ddp_repro.workbook.runs import provenance
from ddp_repro.workbook.runs.records import load_record, save_record
from ddp_repro.workbook.runs.verdicts import compare, overall
from ddp_repro.workbook.tables.map_use import map_use_table
from ddp_repro.workbook.tables.rendering import FORMATS
from ddp_repro.workbook.tables.table import measured_table, paper_table
from tests.evaluation.tiny_depth import tiny_depth_dataset, tiny_depth_model, write_pictures
from tests.training.tiny import tiny_recipe, write_images

mpl.use("Agg")
SMALL = [
    "model.layers=1", "model.channels=32", "model.feedforward_channels=32", "model.num_classes=3",
    "data.crop_size=32,32", "data.image_scale=64,48", "evaluation.steps=1,3", "evaluation.seeds=0,1",
]  # fmt: skip
NOTHING = {  # of each task, a recipe and the tally of a dataset in which nothing counts
    "segmentation": ("ade20k_mini", lambda tally: tally.update(torch.zeros(4, 4, dtype=int), torch.full((4, 4), 255))),
    "depth": ("nyu_mini", lambda tally: tally.update(torch.ones(480, 640), torch.zeros(480, 640))),
    "bev": ("nuscenes_mini_camera", lambda tally: tally),
}


def undefined_record(task: str):
    """Return the record of an evaluation in which nothing counted."""
    name, count = NOTHING[task]
    settings = recipe(name)
    one = task_named(task)
    tally = one.tally(settings.model, settings.evaluation)
    count(tally)
    scores = [one.score(steps, seed, tally) for steps in (1, 3) for seed in (0, 1)]
    return dataclasses.replace(make_record(), recipe=provenance.public_recipe(settings), scores=scores)


@pytest.mark.parametrize("task", NOTHING)
def test_from_tally_to_page_and_back(task, tmp_path):
    record = undefined_record(task)
    values = [getattr(score, metric) for score in record.scores for metric in record.metrics]
    assert set(values) == {None} and len(record.metrics) >= 3
    write_records(tmp_path, record)
    path = tmp_path / "mini" / "runs" / record.run / "record.json"
    assert load_record(path) == record
    assert all(math.isnan(value) for metric in record.metrics for value in record.values(3, metric))
    (first, _) = json.loads(path.read_text())["summary"]
    assert first[f"{record.metrics[0]}_mean"] is None and first[f"{record.metrics[0]}_std"] is None
    for table in (measured_table("mini", tmp_path), paper_table(record.recipe["table"], "mini", tmp_path)):
        for render in FORMATS.values():
            text = render(table)
            assert "undefined" in text and not re.search(r"\bnan\b", text, re.IGNORECASE)
    page = write_index("mini", tmp_path).read_text()
    assert "undefined" in page and ">nan" not in page
    claims_table("mini", tmp_path)


def test_a_mean_with_an_undefined_value_is_undefined():
    record = make_record(miou={1: [40.0, None], 3: [40.0, 42.0]})
    assert math.isnan(spread(record.values(1))[0]) and spread(record.values(3))[0] == 41
    assert mean_text(record.values(1), 2) == mean_and_spread([math.nan, 1.0], 2) == "undefined"
    assert mean_text([math.nan], 1) == number_text(None, 1) == "undefined"
    assert spread([math.nan])[1] is None


def test_a_users_own_score_may_be_nan(tmp_path):
    record = make_record(miou={1: [math.nan]})
    save_record(record, tmp_path / "record.json")
    assert load_record(tmp_path / "record.json").scores[0].miou is None


def test_json_ready():
    values = {"a": [1.5, math.inf, (math.nan, 2)], "b": "x", "c": True, "d": None}
    assert json_ready(values) == {"a": [1.5, None, [None, 2]], "b": "x", "c": True, "d": None}


def test_undefined_numbers_are_compared_with_nothing():
    settings = recipe("ade20k_swin_t", "paper")
    record = make_record(settings=settings, images=2000, miou={1: [46.1] * 3, 3: [47.0, None, 47.0]})
    comparisons = compare(settings, record.dataset, record.scores)
    assert [(c.steps, c.measured, c.verdict) for c in comparisons] == [
        (1, pytest.approx(46.1), "reproduced"), (3, None, "trend only")
    ]  # fmt: skip
    assert overall(comparisons) == "trend only"


def test_claims_with_undefined_numbers_are_no_verdict(tmp_path):
    name = "cityscapes_mini"
    write_records(tmp_path, make_record(name, miou={1: [40.0, 40.0], 3: [41.0, None]}))
    write_analyses(tmp_path, make_map_use(name))
    table = claims_table("mini", tmp_path)
    row = next(row for row in table.frame.itertuples(index=False) if "steps" in row)
    assert list(row).count("not testable: a score is undefined") == 2
    assert any("1 undefined" in cell for cell in row) and not any("nan" in cell for cell in row)


def test_figures_of_undefined_numbers(tmp_path):
    record = undefined_record("segmentation")
    baseline = dataclasses.replace(make_record("ade20k_mini_baseline"), scores=[record.scores[0]])
    figure3.figure_3a(record, baseline).drawing.canvas.draw()


def test_depth_images_without_depth_are_left_out_and_counted():
    protocol = PROTOCOLS["indoor"]
    tally = DepthErrors(protocol).update(torch.full((2, 2), 2.0), torch.ones(2, 2))
    alone = task_named("depth").score(1, 0, tally)
    assert alone.rel == 1.0 and alone.measured is None
    tally.update(torch.ones(2, 2), torch.zeros(2, 2))
    score = task_named("depth").score(1, 0, tally)
    assert (score.rel, score.measured) == (1.0, 1)
    record = dataclasses.replace(make_depth_record(images=2), scores=[score])
    assert any("1 of 2 images have something to measure" in note for note in _notes(record))


def _notes(record):
    from ddp_repro.workbook.tables.table import _general_notes

    return _general_notes([record], "mini")


@pytest.fixture
def void(tmp_path):
    """Return a folder of pictures whose test masks are all "ignore"."""
    root = write_images(tmp_path / "void")
    for path in (root / "masks" / "test").glob("*.png"):
        Image.fromarray(np.full((48, 64), 255, np.uint8)).save(path)
    return root


def test_a_first_validation_without_a_score_keeps_its_weights(void, tmp_path):
    made = train(tiny_recipe(void, train__validate_every=4, train__iterations=8), tmp_path / "run", progress=False)
    _, metadata = read_state_dict(made.best)
    assert (metadata["iteration"], metadata["miou"]) == ("4", "nan")


def test_masks_that_are_all_void_through_the_command_line(void, tmp_path, capsys):
    words = [f"data.root={void}", "data.dataset=folder", "data.train_split=train", "data.eval_split=test", *SMALL]
    save_weights(override(recipe("ade20k_mini"), parse_overrides(words)).model.build(), tmp_path / "w.safetensors", {})
    command = ["evaluate", "ade20k_mini", *words, "--checkpoint", str(tmp_path / "w.safetensors")]
    assert cli.main([*command, "--output", str(tmp_path / "results")]) == 0
    printed = capsys.readouterr().out
    assert "undefined" in printed and "nan" not in printed
    record = load_record(tmp_path / "results" / "mini" / "runs" / "ade20k_mini" / "record.json")
    assert {score.miou for score in record.scores} == {None}


def test_uncertainty_without_a_labelled_pixel(void):
    settings = tiny_recipe(void)
    model = settings.model.build()
    dataset = build_dataset(settings.data, "test", train=False, mean=model.mean, std=model.std)
    found = evaluate_uncertainty(model, dataset, steps=2, noise_samples=2, limit=1, progress=False).to_dict()
    result = json.loads(json.dumps({n: found[n] for n in ("error_rate", "scores", "calibration")}, allow_nan=False))
    analysis = make_uncertainty()
    analysis = dataclasses.replace(analysis, result=result)
    assert "undefined" in uncertainty_table(analysis).frame.to_string()
    figure_uncertainty(analysis).drawing.canvas.draw()
    drift = evaluate_drift(model, dataset, steps=2, seeds=(0,), limit=1, progress=False).to_dict()
    assert drift["miou"] == [[None, None]] and json.dumps(drift, allow_nan=False)
    use = evaluate_map_use(model, dataset, steps=2, seeds=(0, 1), progress=False)
    analysis = dataclasses.replace(analysis, kind="map_use", result=use.to_dict(), settings={"seeds": [0, 1]})
    assert not use.uses_map(0.0) and judge_map_use([analysis]) == "not testable: a score is undefined"
    assert "undefined" in describe_map_use([analysis]) and "undefined" in map_use_table([analysis]).frame.to_string()


def test_depth_without_a_depth_that_counts(tmp_path):
    model, dataset = tiny_depth_model(), tiny_depth_dataset(write_pictures(tmp_path))
    far = dataclasses.replace(PROTOCOLS["indoor"], min_depth=9.0)
    found = evaluate_depth_uncertainty(model, dataset, far, steps=2, noise_samples=2, progress=False)
    use = evaluate_map_use(model, dataset, steps=2, protocol=far, limit=2, progress=False)
    assert math.isnan(use.score("true")) and json.dumps(use.to_dict(), allow_nan=False)
    result = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert result["ause"] == dict.fromkeys((*SPREADS, "random"))
