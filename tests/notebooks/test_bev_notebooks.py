"""The BEV notebooks, from end to end on tiny trainings."""

import pytest

from ddp_repro.store.paths import repository_root
from ddp_repro.workbook.notebooks.notebook import read_notebook
from ddp_repro.workbook.notebooks.runner import reproduce
from ddp_repro.workbook.runs.records import find_records

FOLDER = repository_root() / "notebooks"
OVERRIDES = [
    "train.iterations=2", "train.batch_size=1", "train.device_batch_size=1", "evaluation.steps=1,3",
    "evaluation.seeds=0", "evaluation.limit=2", "model.layers=1", "model.channels=32", "model.feedforward_channels=32",
    "model.noise_samples=1", "data.sweeps=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data, and one results folder: trainings are shared between notebooks."""
    from data_prep.mini import write_mini

    root = tmp_path_factory.mktemp("bev")
    write_mini("nuscenes", root / "nuscenes", train=2, val=2)
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shown"), [("ddp_table3_nuscenes_bev", "best constant map"), ("ddp_figure7_bev", None)]
)
def test_runs_through_the_runner(place, name, shown):
    parameters = {"overrides": repr([*OVERRIDES, f"data.root={place / 'nuscenes'}"])}
    (outcome,) = reproduce("mini", [name], notebooks=FOLDER, output=place / "results", parameters=parameters)
    assert outcome.state == "done", outcome.message
    results = [place / "results" / "mini" / result for result in read_notebook(FOLDER / f"{name}.ipynb").results]
    assert all(result.stat().st_size > 100 for result in results)
    assert shown is None or shown in results[0].read_text()
    assert {"nuscenes_mini_camera", "nuscenes_mini_fusion"} <= {r.run for r in find_records("mini", place / "results")}
