"""environment.yml, the Makefile and CI say what pyproject.toml says."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
CARD = {"torch", "jupyterlab", "papermill", "timm", "mmsegmentation", "pandas", "seaborn", "nuscenes-devkit"}


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def conda() -> list:
    return yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]


def test_conda_pins_equal_pyproject(project, conda):
    extras = project["project"]["optional-dependencies"].values()
    ours = [*project["project"]["dependencies"], *(text for extra in extras for text in extra)]
    pins = {Requirement(text).name: Requirement(text).specifier for text in ours}
    pins |= {
        Requirement(text).name: Requirement(text).specifier for text in project["tool"]["uv"]["constraint-dependencies"]
    }
    listed = [Requirement(text) for text in conda[-1]["pip"] if not text.startswith("-e")]
    assert {r.name for r in listed} >= CARD
    assert {r.name: str(r.specifier) for r in listed} == {r.name: str(pins[r.name]) for r in listed}
    assert Requirement(conda[0]).specifier == project["project"]["requires-python"]


def test_conda_installs_the_project_with_every_extra(project, conda):
    (editable,) = (text for text in conda[-1]["pip"] if text.startswith("-e"))
    assert set(re.findall(r"[a-z]+", editable.partition("[")[2])) == set(project["project"]["optional-dependencies"])


def test_the_lock_holds_the_cards_packages(project):
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    versions = {package["name"]: package.get("version") for package in lock["package"]}
    assert versions.keys() >= CARD
    assert versions["opencv-python"] == versions["opencv-python-headless"]
    assert versions["numpy"].startswith("1.")


def test_ci_runs_the_tests_with_bash():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert "make test" in script.read_text()


def test_a_commit_is_checked_as_make_lint_checks():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    recipe = re.search(r"\nlint:.*\n((?:\t.+\n)+)", (ROOT / "Makefile").read_text())
    assert recipe is not None
    linted = [re.findall(r"\$\(BIN\)/(\S+)(?: (check|format))?", line)[0] for line in recipe[1].splitlines()]
    checked = [re.findall(r"\.venv/bin/(\S+)(?: (check|format))?", hook["entry"])[0] for hook in hooks]
    assert linted == checked
    assert {hook["language"] for hook in hooks} == {"system"}  # no network


def test_make_explains_itself():
    text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(f"make {target}" in text for target in ("demo", "test", "lint", "lock", "clean", "notebooks"))


def test_make_names_the_python_that_is_missing(tmp_path):
    """A stand-in uv that finds no Python: the user must read which one to install."""
    for name in ("Makefile", "pyproject.toml", "uv.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text('#!/bin/sh\ntest "$1" = --version\n')
    uv.chmod(0o755)
    path = f"{uv.parent}:/usr/bin:/bin"
    run = subprocess.run(
        ["make", "test"], cwd=tmp_path, env={"PATH": path}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert "Python 3.11 or 3.12 is needed" in run.stderr
