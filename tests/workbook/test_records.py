"""Records: strict to read, atomic to write, private, and honest about what they may claim."""

import dataclasses
import getpass
import json
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workbook.fakes import make_record

from ddp_repro.evaluation.measure import spread
from ddp_repro.papers.ddp.paper import OFFICIAL_SCALES
from ddp_repro.store import atomic
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.runs import provenance
from ddp_repro.workbook.runs.records import RecordError, load_record, save_record


def test_record_survives_the_disk(tmp_path):
    record = make_record()
    save_record(record, tmp_path / "record.json")
    assert load_record(tmp_path / "record.json") == record


def test_summary_holds_mean_and_sample_deviation(tmp_path):
    save_record(make_record(miou={3: [40.0, 42.0]}), tmp_path / "record.json")
    (row,) = json.loads((tmp_path / "record.json").read_text())["summary"]
    assert row["steps"] == 3
    assert row["seeds"] == 2
    assert row["miou_mean"] == 41.0
    assert row["miou_std"] == pytest.approx(2**0.5)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=9))
def test_spread_agrees_with_numpy(values):
    import numpy as np

    mean, std = spread(values)
    assert mean == pytest.approx(np.mean(values))
    assert std is None if len(values) == 1 else std == pytest.approx(np.std(values, ddof=1), abs=1e-9)


@pytest.mark.parametrize(
    ("break_it", "named"),
    [
        (lambda v: v.pop("wall_seconds"), "'wall_seconds' is missing"),
        (lambda v: v["scores"][0].pop("miou"), "'scores[0].miou' is missing"),
        (lambda v: v["scores"][1].update(miou="42"), "'scores[1].miou' must be of type float"),
        (lambda v: v["dataset"].update(host="x"), "'dataset.host' is unknown"),
        (lambda v: v.update(verdict="proved"), "'verdict' must be one of"),
        (lambda v: v.update(schema=99), "has schema 99, of a later version of ddp_repro; this one reads 1"),
        (lambda v: v.update(schema=0), "'schema' is not 1"),
        (lambda v: v["scores"].__setitem__(0, 3), "'scores[0]' must be of type dict"),
    ],
)
def test_damaged_record_names_file_and_field(tmp_path, break_it, named):
    path = tmp_path / "record.json"
    save_record(make_record(), path)
    values = json.loads(path.read_text())
    break_it(values)
    path.write_text(json.dumps(values))
    with pytest.raises(RecordError) as error:
        load_record(path)
    assert named in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "<html>"])
def test_not_a_record_at_all(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(RecordError, match=r"record\.json"):
        load_record(path)


def test_failed_write_keeps_the_old_record(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    save_record(make_record(), path)
    before = path.read_bytes()
    monkeypatch.setattr(atomic.os, "replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_record(make_record(miou={1: [1.0]}), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_no_host_user_or_absolute_path_in_a_record(tmp_path):
    settings = recipe("cityscapes_mini")
    settings = dataclasses.replace(
        settings,
        data=dataclasses.replace(settings.data, root=str(tmp_path / "private" / "cityscapes")),
        train=dataclasses.replace(settings.train, backbone_weights=str(Path.home() / "weights.safetensors")),
    )
    path = tmp_path / "record.json"
    save_record(make_record(settings=settings), path)
    strings = list(_strings(json.loads(path.read_text())))
    assert "cityscapes" in strings
    assert "weights.safetensors" in strings
    for text in strings:
        assert not text.startswith(("/", "~")), text
        assert str(tmp_path) not in text
        assert socket.gethostname() not in text
        assert getpass.getuser() != text


def test_path_inside_the_clone_becomes_relative():
    from ddp_repro.store.paths import repository_root

    inside = repository_root() / "data" / "mini" / "ade20k"
    assert provenance.public_file(inside) == "data/mini/ade20k"


def test_code_is_unknown_outside_git(monkeypatch):
    def no_git(*arguments, **options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    code = provenance.code()
    assert (code.commit, code.dirty) == ("unknown", None)


def paper_record(**changes):
    return make_record(settings=recipe("ade20k_swin_t", "paper"), images=2000, **changes)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([46.8, 46.9, 46.8], "reproduced"),  # within 0.3 of the printed 47.0
        ([46.7, 46.7, 46.7], "reproduced"),  # on the border
        ([46.6, 46.6, 46.6], "differs"),
        ([46.0, 46.5, 47.0], "reproduced"),  # 0.5 off, but two standard deviations are 1.0
        ([50.0], "differs"),
    ],
)
def test_verdict_rule(values, verdict):
    assert paper_record(miou={3: values}).verdict == verdict


def test_one_number_that_differs_decides():
    record = paper_record(miou={1: [46.1, 46.1, 46.1], 3: [40.0, 40.0, 40.0], 10: [1.0]})
    assert record.verdict == "differs"
    assert [(c.steps, c.verdict) for c in record.comparisons] == [(1, "reproduced"), (3, "differs")]


def test_baseline_is_compared_with_its_row():
    record = make_record(settings=recipe("ade20k_swin_t_baseline", "paper"), images=2000, miou={1: [44.9]})
    assert record.verdict == "reproduced"


@pytest.mark.parametrize(
    "record",
    [
        make_record(miou={3: [47.0] * 3}, images=2000),
        make_record(settings=recipe("ade20k_swin_t", "paper"), images=100, miou={3: [47.0]}),
        paper_record(miou={3: [47.0]}, recipe_changes={"name": "my_variant"}),
        paper_record(
            miou={3: [47.0]},
            recipe_changes={"model": dataclasses.replace(recipe("ade20k_swin_t").model, scale=0.1)},
        ),
        paper_record(
            miou={3: [47.0]},
            recipe_changes={"evaluation": dataclasses.replace(recipe("ade20k_swin_t").evaluation, flip=True)},
        ),
    ],
    ids=["mini", "part of the split", "other name", "other model", "flip without scales"],
)
def test_anything_else_shows_a_trend_only(record):
    assert record.verdict == "trend only"
    assert record.comparisons == []


def test_multi_scale_is_held_against_its_own_column():
    evaluation = dataclasses.replace(recipe("ade20k_swin_t").evaluation, scales=OFFICIAL_SCALES, flip=True)
    record = paper_record(miou={3: [47.8] * 3}, recipe_changes={"evaluation": evaluation})
    (comparison,) = record.comparisons
    assert (comparison.column, comparison.paper, comparison.verdict) == ("miou_ms", 47.8, "reproduced")


def _strings(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value
