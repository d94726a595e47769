"""A notebook run by papermill or Jupyter alone, from another folder: data and results stay in the clone."""

import os
import shutil
import subprocess
import sys

import pytest

from ddp_repro.store.paths import repository_root

pytest.importorskip("diffusers")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
NOTEBOOK = "genpercept_blend"  # trains nothing, and yet makes data and writes tables and figures


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What makes a clone, copied: running it by hand may write into it."""
    folder = tmp_path_factory.mktemp("direct") / "clone"
    for name in ("ddp_repro", "data_prep", "notebooks"):
        shutil.copytree(repository_root() / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(repository_root() / "pyproject.toml", folder)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["papermill", "NOTEBOOK", "executed.ipynb", "-k", "python3", "-p", "steps", "3"],
        ["jupyter", "execute", "NOTEBOOK", "--kernel_name=python3"],
    ],
    ids=["papermill", "jupyter"],
)
def test_results_land_in_the_clone_wherever_a_notebook_is_run(clone, tmp_path, words):
    notebook = clone / "notebooks" / f"{NOTEBOOK}.ipynb"
    shutil.rmtree(clone / "results", ignore_errors=True)
    command = [str(notebook) if word == "NOTEBOOK" else word for word in words[1:]]
    environment = os.environ | {"PYTHONPATH": str(clone), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-m", words[0], *command], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]

    results = clone / "results" / "mini"
    assert {path.suffix for path in (results / "figures").iterdir()} >= {".png", ".pdf"}
    assert list((results / "tables").glob("*.md"))
    assert (clone / "data").is_dir()
    assert not {path.name for path in tmp_path.iterdir()} - {"executed.ipynb"}
