"""Tasks and papers of one's own: what lacks a part, and what nobody knows, is refused by name."""

import pytest

from ddp_repro.protocols.paper import Paper
from ddp_repro.protocols.registry import register_task, task_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.tasks.picture_task import PictureTask
from ddp_repro.workbook import catalogue


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch):
    monkeypatch.setattr("ddp_repro.protocols.registry._REGISTERED", {})
    monkeypatch.setattr(catalogue, "_REGISTERED", {})


class Half(PictureTask):
    name, truth = "half", "x"

    def open(self, *where, **how):
        raise NotImplementedError

    def writer(self, *what):
        raise NotImplementedError


class Small(Paper):
    name, title, citation = "small", "A small paper", "nobody, never"

    def recipes(self, preset):
        return {}


def test_a_task_that_lacks_a_part_is_refused_by_its_name():
    with pytest.raises(ConfigError, match="task 'half' lacks .*tally"):
        register_task(type("Half", (), {"name": "half", "truth": "x"})())
    with pytest.raises(ConfigError, match="task 'half' lacks .*score_type.*estimator.*tally_type"):
        register_task(Half())
    with pytest.raises(TypeError, match="abstract method.*open"):
        type("Half", (PictureTask,), {"name": "half", "writer": None})()


def test_a_paper_needs_a_name_a_title_and_recipes(tmp_path):
    with pytest.raises(ConfigError, match="paper 'small' lacks .*recipes"):
        catalogue.register(type("Small", (), {"name": "small"})())
    with pytest.raises(TypeError, match="abstract method.*recipes"):
        type("Small", (Paper,), {"name": "small"})()
    catalogue.register(Small())
    assert catalogue.paper_named("small").render("mini", tmp_path) == []
    assert "small" in catalogue.paper_names() and catalogue.full_name("small_table1") == "small_table1"
    with pytest.raises(ConfigError, match="the paper small has no questions"):
        catalogue.paper_named("small").evidence("mini", tmp_path)


def test_unknown_names_tell_the_known_ones():
    with pytest.raises(ConfigError, match="no task 'edges'; tasks are segmentation, depth, bev, affine_depth, normals"):
        task_named("edges")
    with pytest.raises(ConfigError, match="no paper 'x'; papers are ddp"):
        catalogue.paper_named("x")
