"""Tables: the right number in the right cell, never a small run's number under a printed row."""

import csv
import dataclasses
import io
from types import SimpleNamespace

import pytest
from workbook.fakes import make_record, write_records

from ddp_repro.papers.ddp.costs import complexity as complexity_module
from ddp_repro.papers.ddp.paper import OFFICIAL_SCALES
from ddp_repro.settings.errors import ConfigError
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.tables import counts, rendering
from ddp_repro.workbook.tables import table as tables
from ddp_repro.workbook.tables.peer_costs import PeerCount
from ddp_repro.workbook.tables.printed import printed_names
from ddp_repro.workbook.tables.table import measured_table, paper_table


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    """Complexity without building models: 1 M parameters a channel, 10 G a step."""

    def complexity(model, image_size, steps):
        assert len(image_size) == 2
        parameters = {"parameters": model.channels * 10**6, "map_decoder_parameters": model.layers * 10**6}
        kinds = SimpleNamespace(modules=steps * 9 * 10**9)
        return SimpleNamespace(**parameters, macs=steps * 10**10, by_kind=kinds)

    monkeypatch.setattr(complexity_module, "complexity", complexity)
    monkeypatch.setattr(counts, "peer_count", lambda *row: None)
    monkeypatch.setattr("ddp_repro.papers.ddp.costs.complexity.explain_macs", lambda *row: "equal")


def column(table, quantity, source):
    return table.frame[next(c for c in table.frame.columns if c[0].startswith(quantity) and c[1].startswith(source))]


@pytest.mark.parametrize("name", printed_names("ddp")[1:])
def test_every_table_renders_without_any_run(name, tmp_path):
    table = paper_table(name, "paper", tmp_path)
    assert len(table.provenance) == 0
    for path in rendering.save_table(table, tmp_path / "tables"):
        assert path.is_file()
    if table.frame.columns.get_level_values(1).str.startswith("measured").any():
        assert "not run" in rendering.to_markdown(table)


def test_mini_scores_get_rows_of_their_own(tmp_path):
    write_records(tmp_path, make_record("ade20k_mini", miou={1: [20.0, 21.0], 3: [22.0, 24.0]}))
    table = paper_table("ddp_table1", "mini", tmp_path)
    measured = column(table, "mIoU", "measured")
    assert measured.name[1] == "measured (mini: synthetic, 40 images)"
    methods = table.frame["", "Method"]
    assert set(measured[:18]) == {"–", "not run"}  # the printed rows
    assert list(methods[18:]) == ["DDP (step 1), mini", "DDP (step 3), mini", "Non-diffusion Baseline, mini"]
    assert list(measured[18:]) == ["20.5 ± 0.7", "23.0 ± 1.4", "not run"]
    assert set(column(table, "mIoU", "paper")[18:]) == {"–"}
    assert list(table.frame["", "Backbone"][18:]) == ["resnet10t"] * 3


def test_paper_scores_stand_beside_the_printed_ones(tmp_path):
    settings = recipe("cityscapes_convnext_t", "paper")
    write_records(tmp_path, make_record(settings=settings, images=500, miou={1: [82.2, 82.4], 3: [82.6, 82.8]}))
    table = paper_table("ddp_table2", "paper", tmp_path)
    measured = column(table, "mIoU", "measured")
    assert measured.name[1] == "measured (paper: Cityscapes val, 500 images)"
    row = list(table.frame["", "Backbone"]).index("ConvNext-T")
    assert list(measured[row : row + 2]) == ["82.30 ± 0.14", "82.70 ± 0.14"]
    assert list(column(table, "mIoU", "paper")[row : row + 2]) == ["82.33", "82.60"]
    assert list(measured[:21]).count("not run") == 12
    names = ["DDP (step 1), not in the paper", "DDP (step 3), not in the paper"]
    assert list(table.frame["", "Method"][21:]) == [*names, f"{names[1]}, td = 0"]
    assert table.provenance["Verdict"].tolist() == ["reproduced"]


def test_multi_scale_has_a_record_and_a_column_of_its_own(tmp_path):
    settings = recipe("ade20k_swin_t", "paper")
    evaluation = dataclasses.replace(settings.evaluation, scales=OFFICIAL_SCALES, flip=True)
    multi = make_record(settings=dataclasses.replace(settings, evaluation=evaluation), images=2000, miou={3: [47.8]})
    assert multi.run == "ade20k_swin_t-ms"
    write_records(tmp_path, make_record(settings=settings, images=2000, miou={3: [47.0]}), multi)
    table = paper_table("ddp_table1", "paper", tmp_path)
    assert column(table, "mIoU", "measured")[8] == "47.0"
    assert column(table, "+MS", "measured")[8] == "47.8"
    assert list(table.provenance["Run"]) == ["ade20k_swin_t", "ade20k_swin_t-ms"]
    assert "+MS (%) ↑ measured" not in rendering.to_csv(paper_table("ddp_table1", "mini", tmp_path))


def test_part_of_a_split_is_titled_with_its_count(tmp_path):
    write_records(tmp_path, make_record(settings=recipe("ade20k_swin_t", "paper"), images=100, miou={3: [47.0]}))
    table = paper_table("ddp_table1", "paper", tmp_path)
    assert "100 images" in column(table, "mIoU", "measured").name[1]
    assert table.provenance["Verdict"].tolist() == ["trend only"]


def test_live_columns_count_our_rows_only(tmp_path):
    table = paper_table("ddp_table1", "mini", tmp_path)
    live = column(table, "FLOPs", "counted live")
    assert live[0] == "–"  # UperNet
    assert list(live[6:9]) == ["10.0", "10.0", "30.0"]  # baseline, 1 step, 3 steps
    assert list(column(table, "FLOPs", "counted live, modules")[6:9]) == ["9.00", "9.00", "27.0"]
    assert column(table, "#Param", "counted live")[7] == "256.0"


def test_ablations_count_their_own_decoder_and_borrow_no_score(tmp_path):
    write_records(tmp_path, make_record(settings=recipe("ade20k_swin_t", "paper"), images=2000, miou={3: [47.0]}))
    table = paper_table("ddp_table5d", "paper", tmp_path)
    assert list(column(table, "#Param", "counted live")) == ["1.00", "2.00", "4.00", "6.00", "12.0"]
    assert list(column(table, "mIoU", "measured")) == ["not run"] * 3 + ["47.0", "not run"]
    write_records(tmp_path, make_record("ade20k_swin_t_layers_12", images=2000, miou={3: [46.0]}))
    assert column(paper_table("ddp_table5d", "paper", tmp_path), "mIoU", "measured")[4] == "46.0"


def test_provenance_names_run_data_seeds_and_checkpoint(tmp_path):
    write_records(tmp_path, make_record("cityscapes_mini"))
    (row,) = paper_table("ddp_table2", "mini", tmp_path).provenance.to_dict("records")
    assert row["Run"] == "cityscapes_mini"
    assert row["Data"] == "cityscapes val"
    assert row["Images"] == "40"
    assert row["Seeds"] == "0, 1, 2"
    assert row["Checkpoint"] == "ddp_repro cccccccccccc"
    assert row["Verdict"] == "trend only"


def test_camvid_table_lists_baseline_then_steps(tmp_path):
    ddp = make_record("camvid_lite0", images=233)
    write_records(tmp_path, ddp, make_record("camvid_lite0_baseline", images=233, miou={1: [55.5]}))
    table = measured_table("camvid", tmp_path)
    assert list(table.frame["", "Method"]) == ["Non-diffusion Baseline"] + ["DDP"] * 5
    assert list(table.frame["", "Steps"]) == ["–", "1", "2", "3", "5", "10"]
    measured = column(table, "mIoU", "measured")
    assert measured.name[1] == "measured (camvid: CamVid test, 233 images)"
    assert measured[0] == "55.50"
    assert measured[3] == "24.00 ± 1.00"
    write_records(tmp_path, make_record("camvid_small", images=233))
    assert len(measured_table("camvid", tmp_path).frame) == 8
    assert len(measured_table("camvid", tmp_path, "camvid").frame) == 6


def test_table_without_runs_is_empty_but_renders(tmp_path):
    table = measured_table("camvid", tmp_path)
    assert len(table.frame) == 0
    assert len(rendering.save_table(table, tmp_path)) == 5


def test_renderings_hold_the_same_cells(tmp_path):
    write_records(tmp_path, make_record("ade20k_mini", miou={1: [20.0, 21.0]}))
    table = paper_table("ddp_table1", "mini", tmp_path)
    markdown, latex, page = (rendering.FORMATS[f](table) for f in ("md", "tex", "html"))
    rows = list(csv.reader(io.StringIO(rendering.to_csv(table))))
    assert len(rows) == 1 + len(table.frame)
    assert "mIoU (%) ↑ measured (mini: synthetic, 40 images)" in rows[0]
    assert "20.5 ± 0.7" in markdown
    assert r"20.5 $\pm$ 0.7" in latex
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\#Param", r"\%"):
        assert rule in latex
    assert 'class="measured">20.5 ± 0.7<' in page
    assert "<script" not in page
    for text in (markdown, latex, page):
        assert "ade20k\\_mini" in text or "ade20k_mini" in text  # provenance travels along


def test_html_escapes_what_a_record_says(tmp_path):
    write_records(tmp_path, make_record("ade20k_mini", recipe_changes={"name": "ade20k_mini"}))
    table = paper_table("ddp_table1", "mini", tmp_path)
    evil = tables.Table(table.name, "<b>&", table.frame, table.provenance, ("<i>",))
    assert "&lt;b&gt;&amp;" in rendering.to_html(evil)
    assert "<i>" not in rendering.to_html(evil)


@pytest.mark.parametrize(("name", "preset"), [("ddp_table8", "mini"), ("ddp_table1", "tiny")])
def test_unknown_names_are_refused(name, preset, tmp_path):
    with pytest.raises(ConfigError):
        paper_table(name, preset, tmp_path)


def test_peers_are_counted_beside_the_printed_cost(tmp_path, monkeypatch):
    macs = {"convolution": 236 * 10**9, "linear": 0, "attention": 0, "normalization": 0}

    def count(table, method, backbone):
        if method == "UperNet":
            return PeerCount(60 * 10**6, macs, "")
        return PeerCount(None, None, "no such model") if method == "SenFormer" else None

    monkeypatch.setattr(counts, "peer_count", count)
    table = paper_table("ddp_table1", "paper", tmp_path)
    assert column(table, "#Param", "counted live")[0] == "60.0"
    assert column(table, "FLOPs", "counted live")[0] == "236.0"
    agreement = column(table, "FLOPs", "agreement")
    assert agreement[0] == "equal" and agreement[1] == "–"
    assert "differs" in agreement[9]  # UperNet Swin-S prints 259
    assert "SenFormer, Swin-T: no such model." in table.notes
