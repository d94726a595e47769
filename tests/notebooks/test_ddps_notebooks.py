"""DDPS's notebooks from end to end on tiny trainings, which they share."""

import pytest
from workbook.tiny import write_data

from ddp_repro.store.paths import repository_root
from ddp_repro.workbook.notebooks.notebook import read_notebook
from ddp_repro.workbook.notebooks.runner import reproduce
from ddp_repro.workbook.runs.records import find_records

FOLDER = repository_root() / "notebooks"
OVERRIDES = [
    "train.iterations=2", "train.batch_size=2", "train.device_batch_size=2", "train.warmup_iterations=1",
    "data.crop_size=32,64", "data.image_scale=64,32", "evaluation.seeds=0", "evaluation.limit=2",
]  # fmt: skip
RUNS = {"ddps_cityscapes_mini_segmentor", "ddps_cityscapes_mini_single", "ddps_cityscapes_mini"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("ddps")
    write_data("cityscapes", root / "data")
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters", "more"),
    [
        ("ddps_overview", {}, set()),
        ("ddps_table", {}, set()),
        (
            "ddps_findings", {"steps": "3", "repetitions": "3", "jobs": "1"},
            {"ddps_cityscapes_mini_longer", "ddps_cityscapes_mini_truth", "ddps_cityscapes_mini_strict"},
        ),
    ],
)  # fmt: skip
def test_runs_through_the_runner(place, name, parameters, more):
    words = repr([*OVERRIDES, f"data.root={place / 'data'}"])
    (outcome,) = reproduce(
        "mini", [name], notebooks=FOLDER, output=place / "results", parameters={"overrides": words} | parameters
    )
    assert outcome.state == "done", outcome.message
    for result in read_notebook(FOLDER / f"{name}.ipynb").results:
        assert (place / "results" / "mini" / result).stat().st_size > 100
    assert RUNS | more <= {record.run for record in find_records("mini", place / "results")}
