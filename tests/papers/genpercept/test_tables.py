import json
from pathlib import Path

import pytest

from ddp_repro.papers.genpercept import recipes
from ddp_repro.papers.genpercept.paper import PAPER
from ddp_repro.papers.genpercept.settings import TABLE1_BETAS
from ddp_repro.papers.genpercept.tables import ranks
from ddp_repro.papers.genpercept.tables.beside import beside_table
from ddp_repro.papers.genpercept.tables.printed import TABLES, load_table
from ddp_repro.settings.errors import ConfigError

ROOT = Path(__file__).parents[3]
ROWS = dict(zip(TABLES, (24, 6, 6, 7, 2, 18, 8, 7, 6, 8, 12, 5, 2, 20), strict=True))


@pytest.mark.parametrize("name", TABLES)
def test_every_row_has_a_value_or_a_dash_in_every_column(name: str) -> None:
    table = load_table(name)
    assert len(table.rows) == ROWS[name] and table.name == name and table.caption
    for row in table.rows:
        assert list(row.values) == [column.key for column in table.columns], row.method
        assert any(value is not None for value in row.values.values())
        assert set(table.headers) <= {"method", *row.settings}, row.method
    for column in table.columns:
        printed = [row.values[column.key] for row in table.rows]
        for value in (value for value in printed if value is not None):
            assert round(value, column.decimals) == value, f"{name} {column.key} {value}"


def test_unknown_tables_and_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match="table15"):
        load_table("table15")
    with pytest.raises(ConfigError, match="2 rows"):
        load_table("table1").row("Marigold", betas=[0.00085, 0.012])


def test_some_cells_as_printed() -> None:
    assert load_table("table1").row("Marigold", betas=[0.1360, 0.192], block=2).values["rank"] == 2.3
    assert load_table("table1").row("DMP", betas=[0.000425, 0.006]).values["nyu_delta1"] == 0.072
    assert load_table("table2").row("Baseline + Image customized loss").values["kitti_rel"] == 0.094
    assert load_table("table4").row("Train U-Net with LoRA", lora_rank=1024).values["eth3d_delta1"] == 0.939
    assert load_table("table7").row("Our GenPercept (Image angular loss)").values["sintel_within_30"] == 55.8
    assert load_table("table9").row("GenPercept (Train UperNet)").values == {"hypersim_miou": 46.0, "ade20k_miou": 34.1}
    assert load_table("table10").row("Our GenPercept", test_set="AIM-500").values["conn"] == 36.74
    assert load_table("table14").row("GenPercept (1024 px)").values["te4_hce"] == 3321


def test_table1_names_the_seven_betas_of_the_settings() -> None:
    for block in (1, 2, 3):
        rows = [
            row for row in load_table("table1").rows if row.settings["block"] == block and row.settings["steps"] == 10
        ]
        assert tuple(tuple(row.settings["betas"]) for row in rows) == TABLE1_BETAS


def test_ten_steps_equal_one_at_beta_one_in_print() -> None:
    rows = load_table("table1").rows
    ones = [row for row in rows if row.settings["steps"] == 1]
    assert len(ones) == 3
    for one in ones:
        block = [row for row in rows if row.settings["block"] == one.settings["block"]]
        ten = next(row for row in block if row.settings["steps"] == 10 and row.settings["betas"] == [1.0, 1.0])
        assert {**ten.values, "rank": None} == one.values


def test_all_ranks_reproduce() -> None:
    checks = ranks.table1_ranks()
    assert len(checks) == 21
    assert all(check.reproduces for check in checks), [check for check in checks if not check.reproduces]


def test_ranks_were_computed_with_the_misprint() -> None:
    table = load_table("table1")
    column = next(column for column in table.columns if column.key == "nyu_delta1")
    block = [row for row in table.rows if row.settings["block"] == 3 and row.settings["steps"] == 10]
    misprinted = table.row("DMP", betas=[0.000425, 0.006])
    assert ranks.competition_rank(misprinted, block, column) == 7
    assert sum(row.values["nyu_delta1"] < 0.722 for row in block) == 2  # itself and 0.601: 0.722 would rank sixth


def test_savings() -> None:
    first, second, third = ranks.table11_savings()
    assert first.reproduces and second.reproduces and not third.reproduces
    assert third.value == pytest.approx(29.41, abs=0.01)
    assert ranks.table11_savings("memory")[2].value == pytest.approx(9.06, abs=0.01)


def test_three_numbers_do_not_reproduce() -> None:
    assert len(ranks.table14_means()) == 120
    named = {(check.printed, round(check.value, 3)) for check in ranks.unreproduced()}
    assert named == {(27, 29.412), (0.855, 0.861), (0.957, 0.967)}


def test_the_edge_of_rounding_is_no_contradiction() -> None:
    check = next(c for c in ranks.table14_means() if "1024" in c.where and "max_f" in c.where)
    assert check.printed == 0.875 and check.value == pytest.approx(0.8755) and check.reproduces


# --- beside what was measured -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(1, 15))
def test_every_table_shows_its_printed_rows_whatever_was_run(number: int, tmp_path: Path) -> None:
    printed = load_table(f"table{number}")
    frame = beside_table(number, "mini", tmp_path).frame
    shown = [name.partition(",")[0] for name in frame.iloc[len(printed.rows) :, 0]]
    assert {recipe.name for recipe in recipes.rows_of(number, "mini")} == set(shown)
    assert list(frame.iloc[: len(printed.rows), 0]) == [row.method for row in printed.rows]


def test_tables_that_vary_the_data_show_trainings_of_others() -> None:
    shown = {number: [recipe.name for recipe in recipes.rows_of(number, "mini")] for number in (5, 12, 13, 14)}
    assert shown == {
        5: ["genpercept_depth_latent_mini"], 12: ["genpercept_depth_latent_mini"], 13: [],
        14: ["genpercept_foreground_mini"],
    }  # fmt: skip
    assert "Taskonomy is not read" in " ".join(beside_table(5, "mini").notes)
    assert "neither trained nor evaluated" in " ".join(beside_table(13, "mini").notes)


def test_amounts_of_data_are_those_of_the_small_trainings_with_their_seeds() -> None:
    """From the committed records: each a row, the mean labels of their data below, and what is no better named."""
    table = beside_table(12, "small")
    rows = list(table.frame.iloc[5:, 0])
    names = [f"genpercept_depth_small_{start}_n1000" for start in ("pretrained", "scratch")]
    assert {f"{name}{end}, 1 step" for name in names for end in ("", "-seed1", "-seed2")} < set(rows)
    assert sum(row.startswith("mean label") for row in rows) == 2 and len(set(rows)) == len(rows)
    record = json.loads((ROOT / "results/small/runs/genpercept_depth_small_scratch_n1000/record.json").read_text())
    (row,) = table.frame[table.frame.iloc[:, 0] == "genpercept_depth_small_scratch_n1000, 1 step"].to_numpy().tolist()
    assert f"{record['summary'][0]['rel_mean']:.3f}" in row


def test_the_parts_of_dis5k_are_evaluated_at_both_printed_sizes() -> None:
    rows = recipes.rows_of(14, "paper")
    assert {(r.data.eval_split, r.data.image_scale[0]) for r in rows} | {("DIS-VD", 1024)} == {
        (part, side) for part in ("DIS-VD", "DIS-TE1", "DIS-TE2", "DIS-TE3", "DIS-TE4") for side in (768, 1024)
    }
    assert {r.weights_of for r in rows} == {"genpercept_foreground"} and len(rows) == 9
    assert {PAPER.official_place(r.name) for r in rows} == {PAPER.official_place("genpercept_foreground")}
