"""The map of the papers and README's generated parts: everything is there, and says what is so."""

import json
from pathlib import Path

import pytest
from workbook.fake_analyses import write_analyses
from workbook.fake_map_use import make_map_use
from workbook.fakes import make_record, write_records

from ddp_repro.cli import main
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.training_seeds import seeded
from ddp_repro.store.paths import repository_root
from ddp_repro.workbook import papers_map, readme
from ddp_repro.workbook.catalogue import paper_named, paper_names, recipe
from ddp_repro.workbook.claims.sentences import sentences

NOTEBOOKS = repository_root() / "notebooks"
MAIN = "cityscapes_mini"


def by_name(output, paper="ddp"):
    return {item.name: item for item in papers_map.items(paper_named(paper), NOTEBOOKS, output)}


def test_every_printed_table_figure_and_claim_is_there_once(tmp_path):
    for paper in map(paper_named, paper_names()):
        rows = papers_map.items(paper, NOTEBOOKS, tmp_path)
        names = [row.name for row in rows]
        assert len(set(names)) == len(names)
        keys = {q[0].key for preset in papers_map.PRESETS for q in paper.claims(preset)}
        assert {name.removeprefix("claim ") for name in names if name.startswith("claim ")} == keys
    found = by_name(tmp_path)
    assert {f"Table {n}" for n in ("1", "2", "3", "4", "5a", "5b", "5c", "5d", "5e", "6", "7")} <= set(found)
    assert {f"Figure {n}" for n in ("3a", "3b", "3c", "4", "5", "6", "7", "8", "9")} <= set(found)


def test_every_notebook_with_a_numbered_result_is_a_command_of_the_map(tmp_path):
    commands = " ".join(item.command for paper in paper_names() for item in by_name(tmp_path, paper).values())
    for path in NOTEBOOKS.glob("*.ipynb"):
        results = json.loads(path.read_text())["metadata"]["ddp_repro"]["results"]
        numbered = [name for name in results if papers_map.NUMBERED.match(Path(name).stem)]
        assert not numbered or f" {path.stem} " in commands, path.stem


def test_states_files_and_times(tmp_path):
    before = by_name(tmp_path)["Table 2"]
    assert (before.places["mini"].status, before.places["camvid"].status) == ("not run", "–")
    for name, text in {
        "tables/ddp_table2.md": "x",
        "notebooks/ddp_table2_cityscapes.json": '{"wall_seconds": 5400.0}',
    }.items():
        path = tmp_path / "mini" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    after = by_name(tmp_path)["Table 2"].places["mini"]
    assert after.describe() == "done, 1 h 30 min: mini/tables/ddp_table2.md"


def test_needs_are_those_of_the_papers_own_runs(tmp_path):
    found = by_name(tmp_path)
    assert found["Table 3"].needs == "nuscenes; the authors' weights"
    assert found["Table 4"].needs == "kitti; training on GPUs"
    assert found["Table 1"].needs.startswith("ade20k; the authors' weights, training on GPUs (")


def test_verdicts_stand_in_the_map_and_in_the_sentences(tmp_path):
    gains = (5.0, 5.1, 4.9)
    records = [
        make_record(settings=seeded(recipe(MAIN), n), miou={1: [40.0], 3: [40.0 + g]}) for n, g in enumerate(gains)
    ]
    write_records(tmp_path, *records)
    write_analyses(tmp_path, make_map_use(MAIN))
    assert by_name(tmp_path)["claim steps"].places["mini"].status == "supported"
    paper = paper_named("ddp")
    lines = sentences(paper.claims("mini"), paper.evidence("mini", tmp_path))
    assert lines == [
        "- More steps help: 3 beat 1 (`cityscapes_mini`): **supported**; effect +5.00 [+4.75, +5.25] over 3 trainings "
        "(95% interval; 0.3 mIoU would matter)."
    ]


def test_one_training_is_said_to_be_one(tmp_path):
    records = [make_record(MAIN, miou={1: [40.0], 3: [45.0]}), make_record(f"{MAIN}_baseline", miou={1: [41.0]})]
    write_records(tmp_path, *records)
    write_analyses(tmp_path, make_map_use(MAIN))
    paper = paper_named("ddp")
    lines = sentences(paper.claims("mini"), paper.evidence("mini", tmp_path))
    assert "effect +4.00 in one of the trainings alone, of unknown spread (0.3 mIoU would matter)" in lines[0]


def test_command_writes_the_map_and_its_page(tmp_path, capsys):
    assert main(["papers", "--output", str(tmp_path)]) == 0
    printed, page = capsys.readouterr().out, (tmp_path / "papers.html").read_text(encoding="utf-8")
    for item in by_name(tmp_path).values():
        assert item.content in printed
    assert page.count("<section") == len(paper_names()) and "<style>" in page


def test_readme_is_what_the_records_say():
    """`ddp-repro papers --readme` writes it anew."""
    text = (repository_root() / "README.md").read_text(encoding="utf-8")
    assert readme.with_generated(text, readme.generated(NOTEBOOKS, repository_root() / "results")) == text


def test_marks_and_parts_must_agree():
    text = "a\n<!-- generated: papers -->\nold\n<!-- end of papers -->\nb\n"
    assert readme.with_generated(text, {"papers": "new\n"}) == text.replace("old", "new")
    for parts in ({}, {"papers": "x\n", "claims_ddp_camvid": "y\n"}):
        with pytest.raises(ConfigError, match="the text has marks for papers"):
            readme.with_generated(text, parts)
