"""Where relative paths start: in a clone, outside of one, in a notebook, and without any clone."""

from pathlib import Path

import pytest

from ddp_repro.settings.errors import ConfigError
from ddp_repro.store import paths

ROOT = Path(__file__).parents[2]


@pytest.fixture
def outside(monkeypatch, tmp_path):
    """A working directory outside any clone."""
    monkeypatch.delenv(paths.ROOT_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_below_a_clone_its_root_is_meant(outside, monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks")
    assert paths.resolve("results") == ROOT / "results"


def test_outside_a_clone_the_folder_is_meant(outside):
    assert paths.resolve("results") == outside / "results"
    assert paths.repository_root() == ROOT  # the notebooks are those of the package's own clone


def test_in_a_notebook_the_packages_clone_is_meant(outside, monkeypatch):
    monkeypatch.setattr(paths, "_in_notebook", lambda: True)
    assert paths.resolve("results") == ROOT / "results"


def test_a_folder_that_the_environment_names(outside, monkeypatch):
    monkeypatch.setenv(paths.ROOT_VARIABLE, str(outside / "place"))
    monkeypatch.chdir(ROOT)
    assert paths.resolve("results") == outside / "place" / "results"


def test_another_projects_clone_is_none_of_ours(outside, monkeypatch):
    (outside / "notebooks").mkdir()
    (outside / "pyproject.toml").write_text('[project]\nname = "another"\n')
    assert paths.working_root() == outside
    (outside / "notebooks" / "below").mkdir()
    monkeypatch.chdir(outside / "notebooks" / "below")
    assert paths.working_root() == Path.cwd()


def test_installed_without_repository(outside, monkeypatch, capsys):
    from ddp_repro import cli

    monkeypatch.setattr(paths, "__file__", str(outside / "site-packages" / "paths.py"))
    with pytest.raises(ConfigError, match="run this from a clone"):
        paths.repository_root()
    assert cli.main(["reproduce", "--preset", "mini"]) == 2
    assert "the notebooks come with the repository" in capsys.readouterr().err
    assert cli.main(["list", "--preset", "mini"]) == 0
    listed = capsys.readouterr().out
    assert "ade20k_mini" in listed and "the notebooks come with the repository" in listed
