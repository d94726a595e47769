"""GenPercept's notebooks from end to end: those without training as they are, the others on tiny trainings."""

import pytest

from ddp_repro.store.paths import repository_root
from ddp_repro.workbook.notebooks.notebook import read_notebook
from ddp_repro.workbook.notebooks.runner import reproduce
from ddp_repro.workbook.runs.records import find_records

pytest.importorskip("diffusers")
FOLDER = repository_root() / "notebooks"
OVERRIDES = [
    "train.iterations=2", "train.warmup_iterations=1", "train.batch_size=2", "train.device_batch_size=2",
    "evaluation.limit=2", "evaluation.steps=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("genpercept") / "results"


def run(name, output, parameters):
    (outcome,) = reproduce("mini", [name], notebooks=FOLDER, output=output, parameters=parameters)
    assert outcome.state == "done", outcome.message
    for result in read_notebook(FOLDER / f"{name}.ipynb").results:
        assert (output / "mini" / result).stat().st_size > 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters"),
    [("genpercept_blend", {"steps": "3"}), ("genpercept_cost", {"height": "64", "width": "96", "repetitions": "3"})],
)
def test_those_without_training_run_through_the_runner(name, parameters, output):
    run(name, output, parameters)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("genpercept_normals", {"genpercept_normals_mini"}),
        ("genpercept_matting", {"genpercept_matte_mini"}),
        ("genpercept_depth", {"genpercept_depth_mini", "genpercept_stochastic_mini", "genpercept_timestep_mini"}),
        ("genpercept_components", {"genpercept_frozen_mini", "genpercept_lora4_mini", "genpercept_dpt_mini"}),
        ("genpercept_segmentation", {"genpercept_foreground_mini", "genpercept_upernet_mini"}),
    ],
)
def test_those_with_training_run_through_the_runner(name, runs, output):
    run(name, output, {"overrides": repr(OVERRIDES)})
    assert runs <= {record.run for record in find_records("mini", output)}
