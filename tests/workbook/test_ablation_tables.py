"""Table 5: paper and measurement in one row a setting, differences to each one's own plain setting."""

import pytest
from workbook.fake_analyses import make_speed, make_sweep, write_analyses
from workbook.fakes import make_record, write_records

from ddp_repro.papers.ddp.recipes.segmentation import ablation_base
from ddp_repro.papers.ddp.recipes.variants import cells
from ddp_repro.papers.ddp.tables.ablations import ablation_table, cost_table
from ddp_repro.settings.training_seeds import seeded
from ddp_repro.workbook.tables.rendering import NOT_RUN, NOTHING, to_html, to_latex, to_markdown

BASE = ablation_base("mini")


def column(table, quantity, source):
    (found,) = [c for c in table.frame.columns if c[0] == quantity and c[1].startswith(source)]
    return list(table.frame[found])


@pytest.fixture
def output(tmp_path):
    found = cells(BASE, "ddp_table5b")
    write_records(
        tmp_path, *(make_record(settings=found[v], miou={3: [20 + 10 * v, 21 + 10 * v]}) for v in (0.01, 0.1))
    )
    return tmp_path


def test_measured_beside_the_paper(output):
    table = ablation_table("ddp_table5b", "mini", output)
    assert column(table, "", "Scale") == ["0.001", "0.01", "0.02", "0.04", "0.1"]
    assert column(table, "mIoU (%) ↑", "paper") == ["45.4", "47.0", "46.8", "45.9", "44.0"]
    assert column(table, "mIoU (%) ↑", "measured (mini: synthetic") == [
        NOT_RUN, "20.60 ± 0.71", NOT_RUN, NOT_RUN, "21.50 ± 0.71",
    ]  # fmt: skip
    assert column(table, "Δ mIoU", "paper") == ["-1.6", "+0.0", "-0.2", "-1.1", "-3.0"]
    assert column(table, "Δ mIoU", "measured") == [NOT_RUN, "+0.00", NOT_RUN, NOT_RUN, "+0.90"]
    assert list(table.provenance["Run"]) == [BASE.name, f"{BASE.name}_scale_0.1"]
    assert "One training per cell" in table.notes[1]


def test_spread_is_over_trainings_where_there_are_several(output):
    write_records(output, make_record(settings=seeded(BASE, 1), miou={3: [22.6, 22.6]}))
    table = ablation_table("ddp_table5b", "mini", output)
    assert column(table, "mIoU (%) ↑", "measured")[1] == "21.60 ± 1.41"
    assert "trainings from different seeds" in table.notes[0]


def test_depths_of_both_models(tmp_path):
    table = ablation_table("ddp_table5d", "mini", tmp_path)
    assert column(table, "", "L") == ["1", "2", "3", "4", "6", "12"]
    assert column(table, "mIoU (%) ↑", "measured")[3] == NOTHING
    printed = [float(v) for v in column(table, "#Param (M)", "paper") if v != NOTHING]
    live = [c for c in table.frame.columns if c == ("#Param (M)", "counted live")]
    counted = [float(v) for v in table.frame[live[0]] if v != NOTHING]
    assert counted == pytest.approx(printed, rel=0.03)


@pytest.mark.parametrize("preset", ["mini", "camvid", "paper"])
@pytest.mark.parametrize("name", ["ddp_table5a", "ddp_table5c"])
def test_nothing_run(preset, name, tmp_path):
    table = ablation_table(name, preset, tmp_path)
    assert set(column(table, "mIoU (%) ↑", "measured")) == {NOT_RUN}
    assert all(render(table) for render in (to_markdown, to_html, to_latex))


def test_cost(tmp_path):
    write_records(tmp_path, make_record(settings=BASE, miou={3: [20.0]}))
    write_analyses(tmp_path, make_sweep(BASE.name, {1: [19.0, 20.0], 3: [21.0, 21.0]}), make_speed(BASE.name))
    table = cost_table("mini", tmp_path)
    assert column(table, "mIoU (%) ↑", "measured") == [NOTHING, "19.50 ± 0.71", NOT_RUN, "21.00 ± 0.00", NOT_RUN]
    assert column(table, "images/s ↑", "measured")[1] == "10.0 (9.00–11.0)"
    counted = [float(v) for v in table.frame["MACs (G)", "counted live"] if v != NOTHING]
    assert counted == pytest.approx([113, 182, 252, 322], rel=0.005)
    assert any("128×256" in note for note in table.notes)
