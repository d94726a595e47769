"""The notebooks that run on request, from end to end on tiny trainings; and which notebooks run by default."""

import pytest
from workbook.tiny import OVERRIDES, write_data

from ddp_repro.store.paths import repository_root
from ddp_repro.workbook.notebooks.notebook import find_notebooks, read_notebook
from ddp_repro.workbook.notebooks.runner import reproduce
from ddp_repro.workbook.runs.analyses import find_analyses
from ddp_repro.workbook.runs.records import find_records

FOLDER = repository_root() / "notebooks"
DEMO = ["00_quickstart", "ddp_figure3_properties", "ddp_table1_ade20k", "ddp_table2_cityscapes"]


def test_demo_stays_small_and_all_means_all():
    assert [notebook.name for notebook in find_notebooks(FOLDER, "mini", [])] == DEMO
    everything = {notebook.name for notebook in find_notebooks(FOLDER, "mini", [], everything=True)}
    assert everything >= {
        *DEMO,
        "ddp_table5_ablations",
        "ddp_figure4_sampling_drift",
        "ddp_figure5_cityscapes_trajectories",
    }
    for name in ("ddp_table5_ablations", "table5_ablations"):  # the second is of version 0.1
        assert [n.name for n in find_notebooks(FOLDER, "mini", [name])] == ["ddp_table5_ablations"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data of both datasets, and one results folder: trainings are shared between notebooks."""
    root = tmp_path_factory.mktemp("dynamics")
    for dataset in ("cityscapes", "ade20k"):
        write_data(dataset, root / "data" / dataset)
    return root


def reproduce_tiny(place, name, dataset, **parameters):
    words = [*OVERRIDES, "evaluation.limit=2", f"data.root={place / 'data' / dataset}"]
    (outcome,) = reproduce(
        "mini", [name], notebooks=FOLDER, output=place / "results", parameters={"overrides": repr(words)} | parameters
    )
    assert outcome.state == "done", outcome.message
    for result in read_notebook(FOLDER / f"{name}.ipynb").results:
        assert (place / "results" / "mini" / result).stat().st_size > 100
    return {record.run for record in find_records("mini", place / "results")}


@pytest.mark.slow
def test_sampling_drift(place):
    runs = reproduce_tiny(
        place, "ddp_figure4_sampling_drift", "cityscapes", steps="[1, 2, 3]", seeds="[0, 1]", time_differences="[0, 1]",
        jobs="1",
    )  # fmt: skip
    assert {"cityscapes_mini", "cityscapes_mini_aligned", "cityscapes_mini_aligned_fresh"} <= runs
    sweeps = find_analyses("sweep", "mini", place / "results")
    assert [s.run for s in sweeps] == ["cityscapes_mini", "cityscapes_mini_aligned", "cityscapes_mini_aligned_fresh"]
    assert len({s.checkpoint for s in sweeps}) == 3
    assert {s.images for s in sweeps} == {2}
    assert "more steps help" in (place / "results" / "mini" / "tables" / "ddp_claims.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dataset", "parameters"),
    [
        ("ddp_figure1_process", "cityscapes", {"image": "1"}),
        ("ddp_figure2_framework", "cityscapes", {}),
        ("ddp_figure3c_uncertainty_quality", "cityscapes", {"steps": "3", "noise_samples": "2"}),
        ("ddp_figure5_cityscapes_trajectories", "cityscapes", {"images": "2"}),
        ("ddp_figure6_ade20k_trajectories", "ade20k", {"images": "2"}),
    ],
)
def test_analyses_of_one_model(place, name, dataset, parameters):
    reproduce_tiny(place, name, dataset, **parameters)


@pytest.mark.slow
def test_paintings_by_a_model_of_random_weights(place, tmp_path):
    pytest.importorskip("diffusers")
    from papers.ddp.test_painting import make_painter

    make_painter().pipeline.save_pretrained(tmp_path / "painter")
    small = {"base": repr(str(tmp_path / "painter")), "size": "[32, 48]", "images": "[0, 1]", "steps": "2"}
    reproduce_tiny(place, "ddp_figure10_controlnet", "cityscapes", iterations="2", **small)
    assert (place / "results/mini/painting/cityscapes_mini/controlnet/config.json").is_file()


@pytest.mark.slow
def test_ablations_of_one_part(place):
    runs = reproduce_tiny(
        place, "ddp_table5_ablations", "ade20k", parts="['ddp_table5c']", steps="[1, 2]", repetitions="3", jobs="2"
    )
    assert {"ade20k_mini_small", "ade20k_mini_small_schedule_linear"} <= runs
    assert not any("scale" in run for run in runs)
    tables = place / "results" / "mini" / "tables"
    assert "not run" in (tables / "ddp_table5b.md").read_text()
    assert "not run" not in (tables / "ddp_table5c.csv").read_text()


@pytest.mark.slow
def test_what_diffusion_adds_at_one_scale(place):
    chosen = {"scales": "[0.01]", "steps": "[1, 2]", "sampling_seeds": "[0]"}
    runs = reproduce_tiny(place, "ddp_what_diffusion_adds", "ade20k", jobs="1", **chosen)
    assert "ade20k_mini_small" in runs and not any("scale" in run for run in runs)
    assert "another look" in (place / "results" / "mini" / "tables" / "ddp_gain.md").read_text()
    assert (place / "results" / "mini" / "figures" / "ddp_what_diffusion_adds.png").is_file()
