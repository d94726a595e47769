"""The transcription of the paper's tables, against row counts, cells and column sums taken down independently."""

import pytest

from ddp_repro.settings.errors import ConfigError
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.tables.printed import load_table, paper_value, printed_names

# table -> (rows, sum of each printed column, in print order); summed with awk over the printed text
PRINTED = {
    "ddp_table1": (18, [1711, 4086, 863.5, 887.4]),
    "ddp_table2": (21, [2826, 42751, 1721.85, 1745.01]),
    "ddp_table3": (14, [1134.8, 700.3, 774.7, 594.9, 625.9, 653.1, 727.4]),
    "ddp_table4": (14, [13.460, 13.917, 13.978, 0.819, 2.474, 34.441, 1.274]),
    "ddp_table5a": (3, [172.8, 139.4]),
    "ddp_table5b": (5, [284.3, 229.1]),
    "ddp_table5c": (2, [114.7, 92.1]),
    "ddp_table5d": (5, [283.9, 228.2, 36.0]),
    "ddp_table5e": (5, [232.5, 1125, 76]),
    "ddp_table6": (6, [4.604, 5.675, 5.907, 0.945, 2.831, 0.411]),
    "ddp_table7": (10, [8.784, 9.770, 9.946, 1.116, 4.127, 0.373]),
}


@pytest.mark.parametrize("name", PRINTED)
def test_row_count_and_column_sums(name):
    table = load_table(name)
    rows, sums = PRINTED[name]
    assert len(table.rows) == rows
    measured = [sum(row.values[c.key] or 0 for row in table.rows) for c in table.columns]
    assert measured == pytest.approx(sums, abs=1e-6)


@pytest.mark.parametrize("name", printed_names("ddp"))
def test_every_row_fills_every_column(name):
    table = load_table(name)
    keys = [c.key for c in table.columns]
    for row in table.rows:
        assert list(row.values) == keys
        assert all(v is None or isinstance(v, (int, float)) for v in row.values.values())
        assert row.method


@pytest.mark.parametrize(
    ("name", "method", "backbone", "key", "value"),
    [
        ("ddp_table1", "UperNet", "Swin-T", "parameters", 60),
        ("ddp_table1", "UperNet", "Swin-T", "flops", 236),
        ("ddp_table1", "SenFormer", "Swin-T", "miou_ms", 46.4),
        ("ddp_table1", "Non-diffusion Baseline", "Swin-T", "miou", 44.9),
        ("ddp_table1", "DDP (step 3)", "Swin-L", "flops", 425),
        ("ddp_table2", "OCRNet", "HRFormer-B", "miou", 81.90),
        ("ddp_table2", "DDP (step 3)", "ConvNext-T", "miou", 82.60),
        ("ddp_table2", "DDP (step 1)", "Swin-S", "flops", 1067),
        ("ddp_table4", "AdaBins", "EfficientNet-B5 + Mini-ViT", "sq_rel", 0.190),
        ("ddp_table4", "DepthFormer", "ResNet-50 + Swin-L", "rmse", 2.143),
        ("ddp_table4", "VNL", "ResNeXt-101", "sq_rel", None),
        ("ddp_table4", "DepthGen (step 8)*", "Efficient U-Net", "rel", 0.064),
    ],
)
def test_cells_by_backbone(name, method, backbone, key, value):
    (row,) = [r for r in load_table(name).rows if (r.method, r.backbone) == (method, backbone)]
    assert row.values[key] == value


@pytest.mark.parametrize(
    ("name", "index", "key", "value"),
    [
        ("ddp_table3", 3, "ped_crossing", None), ("ddp_table3", 3, "divider", 40.5),
        ("ddp_table3", 13, "carpark", 63.8),
        ("ddp_table5a", 0, "macc", 57.6), ("ddp_table5b", 3, "miou", 45.9), ("ddp_table5c", 1, "macc", 56.3),
        ("ddp_table5d", 4, "decoder_parameters", 15.6), ("ddp_table5e", 0, "fps", 18), ("ddp_table5e", 4, "flops", 322),
        ("ddp_table6", 1, "delta1", 0.696), ("ddp_table7", 1, "log10", None), ("ddp_table7", 9, "rmse", 0.329),
    ],
)  # fmt: skip
def test_cells_by_position(name, index, key, value):
    assert load_table(name).rows[index].values[key] == value


def test_our_rows_name_recipe_and_steps():
    for name in ("ddp_table1", "ddp_table2"):
        ours = [r for r in load_table(name).rows if r.method.startswith("DDP")]
        assert {r.steps for r in ours} == {1, 3}
        assert all(r.recipe == f"{load_table(name).dataset}_{r.backbone.lower().replace('-', '_')}" for r in ours)
    assert [r.recipe for r in load_table("ddp_table1").rows].count("ade20k_swin_t_baseline") == 1


def test_recipes_of_tables_1_and_2_exist():
    from ddp_repro.workbook.catalogue import recipe_names

    named = {r.recipe for n in ("ddp_table1", "ddp_table2", "ddp_figure3") for r in load_table(n).rows if r.recipe}
    assert named <= set(recipe_names("paper"))


def test_ablations_change_one_field_each():
    from ddp_repro.settings.overrides import override
    from ddp_repro.workbook.catalogue import recipe

    for part in "abcd":
        rows = load_table(f"ddp_table5{part}").rows
        assert [len(r.overrides) for r in rows].count(0) == 1  # the default, 47.0 mIoU
        for row in rows:
            override(recipe(row.recipe, "paper"), row.overrides)
            assert row.overrides or row.values["miou"] == 47.0


def test_figure_3_numbers_of_the_text():
    numbers = {(r.method, r.backbone, r.steps): r.values["miou"] for r in load_table("ddp_figure3").rows}
    assert numbers["DDP", "ConvNeXt-T", 1] == 82.33
    assert numbers["DDP", "ConvNeXt-T", 3] == 82.60
    assert [numbers["DDP, self-aligned", "ConvNeXt-L", s] for s in (1, 3, 10)] == [83.0, 83.2, 83.2]


def test_lookup_for_the_verdict():
    assert paper_value(recipe("ade20k_swin_t"), 3, "miou") == 47.0
    assert paper_value(recipe("cityscapes_convnext_t"), 1, "miou_ms") == 83.00
    assert paper_value(recipe("ade20k_swin_t_baseline"), 1, "miou") == 44.9
    assert paper_value(recipe("ade20k_swin_t"), 2, "miou") is None
    assert paper_value(recipe("ade20k_mini"), 3, "miou") is None


def test_unknown_table_lists_those_there_are():
    with pytest.raises(ConfigError, match=r"no table 'table9'.*table5e"):
        load_table("ddp_table9")


def test_printed_numbers_come_with_the_package(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    load_table.cache_clear()
    assert load_table("ddp_table1").rows
