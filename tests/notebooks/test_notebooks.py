"""Every notebook: thin, clean, and run from end to end through the runner on a handful of tiny pictures."""

import ast
import json
import shutil
import subprocess
import sys

import pytest
from workbook.tiny import OVERRIDES, write_data

from ddp_repro.settings.presets import PRESETS
from ddp_repro.store.paths import repository_root
from ddp_repro.workbook.notebooks.notebook import read_notebook
from ddp_repro.workbook.notebooks.runner import reproduce
from ddp_repro.workbook.runs.records import find_records

FOLDER = repository_root() / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]
SHARED = {"preset", "output", "overrides", "overwrite"}


def cells(path, kind="code"):
    content = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == kind]


def source(cell):
    return "".join(cell["source"])


def test_the_notebooks_of_this_issue_are_there():
    assert {"00_quickstart", "ddp_table1_ade20k", "ddp_table2_cityscapes", "ddp_figure3_properties"} <= set(NAMES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_is_thin_and_holds_no_outputs(path):
    code = [source(cell) for cell in cells(path)]
    assert sum(bool(line.strip()) for text in code for line in text.splitlines()) <= 80
    for cell in cells(path):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
    forbidden = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    for text in code:
        assert not any(isinstance(node, forbidden) for node in ast.walk(ast.parse(text)))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_begins_with_context_and_ends_with_how_to_read_it(path):
    words = [source(cell) for cell in cells(path, "markdown")]
    assert words[0].startswith("# ")
    assert len(words[0]) > 200
    assert "How to read it" in "".join(words[1:])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_parameters_are_commented_literals(path):
    tagged = [cell for cell in cells(path) if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    assert all("  # " in line for line in source(tagged[0]).splitlines())
    notebook = read_notebook(path)
    assert set(notebook.parameters) >= SHARED
    assert notebook.parameters["output"].default == "results"
    assert notebook.results
    assert set(notebook.presets) <= set(PRESETS)
    assert notebook.parameters["preset"].default in notebook.presets


def test_style():
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([*ruff, *command, str(FOLDER)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data of both datasets, and one results folder: trainings are shared between notebooks, as in the demo."""
    root = tmp_path_factory.mktemp("notebooks")
    for dataset in ("cityscapes", "ade20k"):
        write_data(dataset, root / "data" / dataset)
    return root


def reproduce_tiny(place, name, dataset):
    words = [*OVERRIDES, f"data.root={place / 'data' / dataset}"]
    parameters = {"overrides": repr(words)}
    (outcome,) = reproduce("mini", [name], notebooks=FOLDER, output=place / "results", parameters=parameters)
    return outcome


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "dataset", "runs"),
    [
        ("00_quickstart", "cityscapes", {"cityscapes_mini"}),
        ("ddp_figure3_properties", "cityscapes", {"cityscapes_mini", "cityscapes_mini_baseline"}),
        ("ddp_table2_cityscapes", "cityscapes", {"cityscapes_mini", "cityscapes_mini_baseline"}),
        ("ddp_table1_ade20k", "ade20k", {"ade20k_mini", "ade20k_mini_baseline"}),
    ],
)
def test_runs_through_the_runner(place, name, dataset, runs):
    outcome = reproduce_tiny(place, name, dataset)
    assert outcome.state == "done", outcome.message
    for result in read_notebook(FOLDER / f"{name}.ipynb").results:
        assert (place / "results" / "mini" / result).stat().st_size > 100
    executed = (place / "results" / "mini" / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert "\\r" not in executed.replace("\\rightarrow", "")  # progress bars show their last state
    assert "site-packages" not in executed
    assert runs <= {record.run for record in find_records("mini", place / "results")}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_finished_notebook_is_skipped_and_other_settings_refused(place):
    name = "ddp_figure3_properties"
    assert reproduce_tiny(place, name, "cityscapes").state in ("done", "skipped")
    assert reproduce_tiny(place, name, "cityscapes").state == "skipped"
    copy = shutil.copytree(place / "results", place / "other")
    (copy / "mini" / "notebooks" / f"{name}.json").unlink()
    words = [*OVERRIDES, f"data.root={place / 'data' / 'cityscapes'}", "train.learning_rate=0.5"]
    (outcome,) = reproduce("mini", [name], notebooks=FOLDER, output=copy, parameters={"overrides": repr(words)})
    assert outcome.state == "failed"
    assert "train.learning_rate was 0.001, is 0.5" in outcome.message


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_unknown_override_fails_by_name(place):
    (outcome,) = reproduce(
        "mini", ["00_quickstart"], notebooks=FOLDER, output=place / "unknown",
        parameters={"overrides": "['train.iteration=3']"},
    )  # fmt: skip
    assert outcome.state == "failed"
    assert "train.iteration" in outcome.message
