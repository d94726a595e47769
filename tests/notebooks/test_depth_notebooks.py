"""The depth notebooks, from end to end on tiny trainings."""

import pytest

from ddp_repro.store.paths import repository_root
from ddp_repro.workbook.notebooks.notebook import read_notebook
from ddp_repro.workbook.notebooks.runner import reproduce
from ddp_repro.workbook.runs.records import find_records

FOLDER = repository_root() / "notebooks"
SIZES = {"kitti": (48, 160), "nyu": (48, 64)}
OVERRIDES = [
    "train.iterations=2", "train.batch_size=2", "train.device_batch_size=2", "train.warmup_iterations=1",
    "evaluation.steps=1,3", "evaluation.seeds=0,1", "evaluation.limit=2", "model.layers=1", "model.channels=32",
    "model.heads=2", "model.feedforward_channels=32",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data of both datasets, and one results folder: trainings are shared between notebooks."""
    from data_prep.mini import write_mini

    root = tmp_path_factory.mktemp("depth")
    for dataset, size in SIZES.items():
        write_mini(dataset, root / "data" / dataset, train=3, val=2, size=size)
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dataset", "shown"),
    [
        ("ddp_table7_nyu", "nyu", "mean depth map of the training images"),
        ("ddp_figure9_nyu_depth", "nyu", None),
        ("ddp_table4_kitti", "kitti", "Protocol kitti_garg"),
        ("ddp_figure8_kitti_depth", "kitti", None),
    ],
)
def test_runs_through_the_runner(place, name, dataset, shown):
    parameters = {"overrides": repr([*OVERRIDES, f"data.root={place / 'data' / dataset}"])}
    (outcome,) = reproduce("mini", [name], notebooks=FOLDER, output=place / "results", parameters=parameters)
    assert outcome.state == "done", outcome.message
    results = [place / "results" / "mini" / result for result in read_notebook(FOLDER / f"{name}.ipynb").results]
    assert all(result.stat().st_size > 100 for result in results)
    assert shown is None or shown in results[0].read_text()
    assert {f"{dataset}_mini", f"{dataset}_mini_baseline"} <= {r.run for r in find_records("mini", place / "results")}
