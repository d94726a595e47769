"""Analyses: equal work is skipped, other settings refused, new weights or images analysed anew."""

import dataclasses
from types import SimpleNamespace

import pytest
from torch import nn
from workbook.fake_depth import make_depth_record
from workbook.fakes import make_record

from ddp_repro.papers.ddp import analyses
from ddp_repro.settings.errors import ConfigError
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.runs import analyses as store
from ddp_repro.workbook.runs.analyses import Subject, find_analyses, load_analysis


class Images(list):
    """Stand-ins for 24 images."""

    data = recipe("cityscapes_mini").data


IMAGES = Images(range(24))
FOUND = {"error_rate": 0.1, "scores": {}, "calibration": {}, "seconds": 1.0}


@pytest.fixture
def calls(monkeypatch):
    """The settings of every real evaluation; model and data are stand-ins."""
    made = []

    def evaluate(model, dataset, **settings):
        made.append(settings)
        return SimpleNamespace(to_dict=lambda: FOUND)

    monkeypatch.setattr(analyses, "evaluate_uncertainty", evaluate)
    monkeypatch.setattr(store, "trained_model", lambda *_, **__: nn.Linear(1, 1))
    monkeypatch.setattr(store, "evaluation_dataset", lambda *_: IMAGES)
    return made


@pytest.fixture
def subject(tmp_path):
    settings = recipe("cityscapes_mini")
    return Subject(recipe=settings, record=make_record("cityscapes_mini"), output=tmp_path, progress=False)


def test_equal_work_is_done_once(subject, calls, tmp_path):
    first = analyses.uncertainty(subject, steps=10, noise_samples=4, limit=8)
    assert analyses.uncertainty(subject, steps=10, noise_samples=4, limit=8) == first
    assert len(calls) == 1
    assert first.images == 8
    assert first.result == {"error_rate": 0.1, "scores": {}, "calibration": {}}
    assert first.settings == {"steps": 10, "noise_samples": 4, "seed": 0, "limit": 8}
    assert load_analysis("uncertainty", "cityscapes_mini", "mini", tmp_path) == first
    assert find_analyses("uncertainty", "mini", tmp_path) == [first]
    assert load_analysis("drift", "cityscapes_mini", "mini", tmp_path) is None


def test_other_settings_are_refused_unless_overwritten(subject, calls):
    analyses.uncertainty(subject, steps=10, noise_samples=4)
    with pytest.raises(ConfigError, match=r"other settings \(steps was 10, is 3\).*--overwrite"):
        analyses.uncertainty(subject, steps=3, noise_samples=4)
    replaced = analyses.uncertainty(dataclasses.replace(subject, overwrite=True), steps=3, noise_samples=4)
    assert replaced.settings["steps"] == 3
    assert [call["steps"] for call in calls] == [10, 3]


@pytest.mark.parametrize(
    ("part", "change"),
    [("checkpoint", {"sha256": "e" * 64}), ("dataset", {"fingerprint": "e" * 64})],
)
def test_new_weights_or_images_are_analysed_anew(subject, calls, part, change):
    analyses.uncertainty(subject, steps=10, noise_samples=4)
    changed = dataclasses.replace(getattr(subject.record, part), **change)
    record = dataclasses.replace(subject.record, **{part: changed})
    again = analyses.uncertainty(dataclasses.replace(subject, record=record), steps=10, noise_samples=4)
    assert len(calls) == 2
    assert getattr(again, part) == "e" * 64


def test_a_clone_without_weights_keeps_an_analysis_of_other_code(subject, calls, monkeypatch, capsys):
    """README's commands stopped there in a clone as soon as an analysis was written otherwise."""
    first = analyses.uncertainty(subject, steps=10, noise_samples=4)
    work = store.analysis_work
    monkeypatch.setattr(
        store, "analysis_work", lambda *parts: dataclasses.replace(work(*parts), code={"ours": "new"}, probe={"x": 1.0})
    )
    assert analyses.uncertainty(subject, steps=10, noise_samples=4) == first and len(calls) == 1
    assert "no weights here; uncertainty is that of other code (commit " in capsys.readouterr().err
    with pytest.raises(ConfigError, match="other settings"):
        analyses.uncertainty(subject, steps=3, noise_samples=4)
    monkeypatch.setattr(store, "has_weights", lambda *_: True)
    analyses.uncertainty(subject, steps=10, noise_samples=4)
    assert len(calls) == 2


def test_the_baseline_has_no_sampling(subject):
    record = make_record("cityscapes_mini_baseline", miou={1: [39.0]})
    with pytest.raises(ConfigError, match="is not a diffusion model"):
        analyses.drift(dataclasses.replace(subject, record=record), steps=3, seeds=[0])


@pytest.fixture
def swept(monkeypatch):
    """The step counts of every real sweep; model, data and costs are stand-ins."""
    made = []

    def evaluate(model, dataset, evaluation, progress):
        made.append(evaluation.steps)
        scores = SimpleNamespace(miou=0.4, macc=0.5, aacc=0.6)
        return SimpleNamespace(tallies={(s, k): scores for s in evaluation.steps for k in evaluation.seeds})

    nothing = SimpleNamespace(total=1)
    monkeypatch.setattr(analyses, "evaluate_model", evaluate)
    monkeypatch.setattr(analyses, "complexity", lambda *_: SimpleNamespace(encoder=nothing, step=nothing))
    monkeypatch.setattr(store, "trained_model", lambda *_, **__: nn.Linear(1, 1))
    monkeypatch.setattr(store, "evaluation_dataset", lambda *_: IMAGES)
    return made


def test_a_sweep_over_more_steps_holds_one_over_fewer(subject, swept):
    whole = analyses.sweep(subject, steps=range(1, 11), seeds=(0, 1), time_differences=(0,))
    swept.clear()
    assert analyses.sweep(subject, steps=(1, 2, 3, 4), seeds=(1, 0)) == whole
    assert (
        analyses.sweep(subject, steps=(10, 1), seeds=(0,), time_differences=(0,), time_difference_steps=(3,)) == whole
    )
    assert swept == []


def test_a_larger_request_extends_a_sweep_without_overwriting(subject, swept):
    analyses.sweep(subject, steps=(1, 2, 3, 4), seeds=(0,))
    whole = analyses.sweep(subject, steps=range(1, 11), seeds=(0, 1), time_differences=(0,))
    assert swept == [(1, 2, 3, 4), tuple(range(1, 11)), (2, 3, 5, 10)]
    assert {score["steps"] for score in whole.result["scores"]} == {*range(1, 11)}
    assert load_analysis("sweep", "cityscapes_mini", "mini", subject.output) == whole


@pytest.mark.parametrize(
    ("steps", "seeds", "limit"), [((1, 2), (0, 1), 8), ((1, 2, 3), (0,), None), ((3, 4), (0, 1), None)],
    ids=["another limit", "more steps but fewer seeds", "other steps"],
)  # fmt: skip
def test_a_request_that_neither_holds_the_other_is_refused(subject, swept, steps, seeds, limit):
    analyses.sweep(subject, steps=(1, 2), seeds=(0, 1))
    with pytest.raises(ConfigError, match=r"analysed with other settings .*--overwrite"):
        analyses.sweep(subject, steps=steps, seeds=seeds, limit=limit)
    assert swept == [(1, 2)]


def test_a_sweep_of_other_weights_is_not_reused(subject, swept):
    analyses.sweep(subject, steps=(1, 2, 3), seeds=(0,))
    checkpoint = dataclasses.replace(subject.record.checkpoint, sha256="e" * 64)
    other = dataclasses.replace(subject, record=dataclasses.replace(subject.record, checkpoint=checkpoint))
    assert analyses.sweep(other, steps=(1, 2), seeds=(0,)).checkpoint == "e" * 64
    assert swept == [(1, 2, 3), (1, 2)]


def test_the_speed_of_another_machine_is_measured_anew(subject, calls, tmp_path, monkeypatch, capsys):
    measured = SimpleNamespace(conditions={})
    monkeypatch.setattr(analyses, "ddp_candidates", lambda *_: {})
    monkeypatch.setattr(analyses, "measure_speed", lambda *_, **__: calls.append("speed") or [measured])
    monkeypatch.setattr(analyses.dataclasses, "asdict", lambda each, as_dict=dataclasses.asdict: (
        {} if each is measured else as_dict(each)
    ))  # fmt: skip
    present = [True]
    monkeypatch.setattr(store, "has_weights", lambda *_: present[0])
    here = analyses.speed(subject, steps=[1], repetitions=3)
    assert analyses.speed(subject, steps=[1], repetitions=3) == here and calls == ["speed"]

    elsewhere = dataclasses.replace(here.environment, cpu="a faster one")
    monkeypatch.setattr(store.provenance, "environment", lambda _: elsewhere)
    present[0] = False
    assert analyses.speed(subject, steps=[1], repetitions=3) == here and calls == ["speed"]
    assert f"no weights here; the speed is that of {here.environment.cpu}" in capsys.readouterr().err
    present[0] = True
    assert analyses.speed(subject, steps=[1], repetitions=3).environment == elsewhere and calls == ["speed"] * 2


def test_lost_trajectories_are_sampled_anew(subject, calls, tmp_path, monkeypatch):
    def save(_model, _dataset, index, _seed, path):
        calls.append(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")

    monkeypatch.setattr(analyses.trajectories, "richest_images", lambda *_: [0, 1])
    monkeypatch.setattr(analyses.trajectories, "save_one", save)
    monkeypatch.setattr(store, "evaluation_dataset", lambda *_: SimpleNamespace(ids="ab", __len__=lambda _: 2))
    monkeypatch.setattr(store, "len", lambda _: 2, raising=False)
    first = analyses.sampled_images(subject, images=2)
    assert analyses.sampled_images(subject, images=2) == first and calls == [0, 1]
    (tmp_path / "mini/runs/cityscapes_mini" / first.result["files"][1]).unlink()
    analyses.sampled_images(subject, images=2)
    assert calls == [0, 1, 0, 1]


def test_map_use_in_percent_with_the_protocol_of_depth(subject, monkeypatch):
    asked = []

    class Found:
        measure = "miou"

        def to_dict(self, *, per_image, factor):
            assert not per_image
            return {"measure": self.measure, "steps": [], "effect": {"low": factor}, "seconds": 1.0}

    def evaluate(model, dataset, **settings):
        asked.append(settings)
        return Found()

    monkeypatch.setattr(analyses, "evaluate_map_use", evaluate)
    monkeypatch.setattr(store, "trained_model", lambda *_, **__: nn.Linear(1, 1))
    monkeypatch.setattr(store, "evaluation_dataset", lambda *_: IMAGES)
    made = analyses.map_use(subject, seeds=(0, 1), limit=4)
    assert made.result == {"measure": "miou", "steps": [], "effect": {"low": 100.0}}
    assert made.settings == {"steps": 3, "seeds": [0, 1], "limit": 4}
    assert load_analysis("map_use", "cityscapes_mini", "mini", subject.output) == made
    Found.measure = "rel"
    depth = Subject(
        recipe=recipe("nyu_mini"), record=make_depth_record(), output=subject.output, progress=False
    )  # fmt: skip
    assert analyses.map_use(depth).result["effect"] == {"low": 1.0}
    assert [settings["protocol"] and settings["protocol"].name for settings in asked] == [None, "nyu"]
