"""From a run's weights to the verdict: the analysis is stored beside the record and decides what claims may say."""

import json

import pytest
from workbook.tiny import tiny, write_data

from ddp_repro.papers.ddp import analyses
from ddp_repro.papers.ddp.claims import claims_table
from ddp_repro.papers.ddp.diagnostics.map_use import MAPS
from ddp_repro.workbook.runs.run import run

NAME = "cityscapes_mini"


def verdict_on_steps(output):
    frame = claims_table("mini", output).frame
    rows = dict(zip(frame["", "Claim"], frame["Verdict", "by itself"], strict=True))
    return rows["more steps help: 3 beat 1"]


def test_an_untrained_model_is_found_not_to_read_its_map(tmp_path):
    data = write_data("cityscapes", tmp_path / "data" / "cityscapes")
    recipe = tiny(NAME, data)
    record = run(recipe, output=tmp_path, progress=False)
    assert verdict_on_steps(tmp_path) == "not testable: whether this model reads its map was not checked"
    subject = analyses.Subject(recipe=recipe, record=record, output=tmp_path, progress=False)
    made = analyses.map_use(subject, seeds=(0, 1))
    assert analyses.map_use(subject, seeds=(0, 1)) == made
    stored = json.loads((tmp_path / "mini" / "runs" / NAME / "map_use.json").read_text(encoding="utf-8"))["result"]
    assert [set(row["scores"]) for row in stored["steps"]] == [set(MAPS)] * 3
    own = sum(record.values(3)) / 2
    assert stored["steps"][2]["scores"]["prediction"] == pytest.approx(own)  # in percent, as in the record
    assert verdict_on_steps(tmp_path) == "not testable: this model ignores its map"
