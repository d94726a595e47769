"""Tables 4, 6 and 7 and Figures 8 and 9 from made-up records: the right number, protocol and verdict."""

import dataclasses
import warnings

import matplotlib as mpl
import numpy as np
import pytest
from workbook.fake_analyses import write_analyses
from workbook.fake_depth import (
    make_depth_record,
    make_depth_uncertainty,
    make_mean_depth,
    make_samples,
    write_mean_depth,
    write_samples,
)
from workbook.fakes import write_records

from ddp_repro.papers.ddp.figures.depth_views import depth_figures
from ddp_repro.papers.ddp.figures.figure8_9 import figure_depth, figure_depth_steps
from ddp_repro.papers.ddp.pages import rerender
from ddp_repro.settings.training_seeds import seeded
from ddp_repro.tasks.depth.protocols import PROTOCOLS
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.runs.records import RecordError
from ddp_repro.workbook.runs.verdicts import compare
from ddp_repro.workbook.tables.rendering import to_markdown
from ddp_repro.workbook.tables.table import paper_table

mpl.use("Agg")
PRINTED = {"delta1": 0.969, "rmse": 2.172, "rmse_log": 0.083}  # Table 4, Swin-T, and REL 0.054


def measured_cells(table, quantity):
    """By method, the measured column of a quantity."""
    column = next(c for c in table.frame.columns if c[0].startswith(quantity) and c[1].startswith("measured"))
    return dict(zip(table.frame["", "Method"], table.frame[column], strict=True))


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["mini", "paper"])
@pytest.mark.parametrize(
    ("name", "protocol"),
    [("ddp_table4", "kitti_garg"), ("ddp_table6", "sunrgbd"), ("ddp_table7", "nyu")],
    ids=lambda word: word,
)
def test_without_records_nothing_is_claimed_and_the_protocol_is_printed(tmp_path, name, protocol, preset):
    table = paper_table(name, preset, tmp_path)
    assert set(measured_cells(table, "REL").values()) == {"–", "not run"}
    assert measured_cells(table, "REL")["DDP (step 3)"] == "not run"
    (note,) = (note for note in table.notes if note.startswith("Protocol"))
    assert note.startswith(f"Protocol {protocol}: {PROTOCOLS[protocol].describe()}")
    assert "mirror image" in note and len(table.provenance) == 0
    assert to_markdown(table)


@pytest.mark.parametrize(
    ("preset", "table", "protocols"),
    [("sevenscenes", "ddp_table7", {"nyu", "indoor"}), ("kitti_lidar", "ddp_table4", {"kitti_garg"})],
)
def test_small_real_sets_print_their_own_protocol_too(tmp_path, preset, table, protocols):
    notes = paper_table(table, preset, tmp_path).notes
    assert {note.split()[1].rstrip(":") for note in notes if note.startswith("Protocol")} == protocols


def test_rows_of_the_presets_own_models(tmp_path):
    rel = {1: [0.21, 0.23], 3: [0.1896, 0.1896]}
    write_records(tmp_path, make_depth_record("nyu_mini", rel), make_depth_record("nyu_mini_baseline", {1: [0.3]}))
    for name in ("nyu_mini", "nyu_mini_baseline"):  # both were asked for it; it is one and the same map
        write_mean_depth(tmp_path / "mini/runs" / name, make_mean_depth(0.5))
    table = paper_table("ddp_table7", "mini", tmp_path)
    cells = measured_cells(table, "REL")
    assert cells["DDP (step 3)"] == "not run"  # the printed row is another model
    constant = "mean depth map of the training images, mini"
    own = ["DDP (step 1), mini", "DDP (step 3), mini", "Non-diffusion Baseline, mini", constant]
    assert list(table.frame["", "Method"])[-4:] == own
    assert [cells[name] for name in own] == ["0.220 ± 0.014", "0.190 ± 0.000", "0.300", "0.500"]
    assert measured_cells(table, "RMS")[constant] == "0.700"
    assert list(table.provenance["Run"]) == ["nyu_mini", "nyu_mini_baseline"]
    assert "8 images" in next(c[1] for c in table.frame.columns if c[1].startswith("measured"))


def test_papers_models_stand_in_the_printed_rows(tmp_path):
    write_records(tmp_path, make_depth_record("kitti_swin_s", {3: [0.055, 0.057]}, images=652))
    write_mean_depth(tmp_path / "paper/runs/kitti_swin_s", make_mean_depth(0.4))
    table = paper_table("ddp_table4", "paper", tmp_path)
    frame = table.frame
    column = next(c for c in frame.columns if c[0].startswith("REL") and c[1].startswith("measured"))
    rows = dict(zip(frame["", "Backbone"], frame[column], strict=True))
    assert (rows["Swin-S"], rows["Swin-T"]) == ("0.056 ± 0.001", "not run")
    assert measured_cells(table, "REL")["mean depth map of the training images, paper"] == "0.400"


# -- verdicts ----------------------------------------------------------------------------------------------------------


def verdicts(rel, images=652, settings=None, **measures):
    record = make_depth_record("kitti_swin_t", {3: rel}, images=images, settings=settings, **{**PRINTED, **measures})
    return record.verdict, {c.column: c.verdict for c in record.comparisons}


def test_all_printed_columns_are_compared():
    verdict, columns = verdicts([0.054])
    assert verdict == "reproduced"
    assert columns == dict.fromkeys(("delta1", "rel", "rmse", "rmse_log"), "reproduced")  # log10 is not printed


@pytest.mark.parametrize(
    ("column", "at", "beyond"),
    [("rel", 0.056, 0.05601), ("delta1", 0.966, 0.96599), ("rmse", 2.202, 2.20201), ("rmse_log", 0.086, 0.08601)],
)
def test_exactly_the_tolerance_is_reproduced(column, at, beyond):
    for value, expected in ((at, "reproduced"), (beyond, "differs")):
        values = {"rel": [0.054]} | ({"rel": [value]} if column == "rel" else {column: value})
        verdict, columns = verdicts(**values)
        assert (verdict, columns[column]) == (expected, expected)


def test_two_deviations_over_seeds_are_tolerated():
    std = 2**0.5 * 0.002
    assert verdicts([0.054 + 2 * std - 0.002, 0.054 + 2 * std + 0.002])[0] == "reproduced"
    assert verdicts([0.0541 + 2 * std - 0.002, 0.0541 + 2 * std + 0.002])[0] == "differs"


def test_other_settings_claim_nothing():
    official = recipe("kitti_swin_t")
    assert verdicts([0.054], images=651)[0] == "trend only"
    for field, changes in (
        ("evaluation", {"protocol": "kitti_eigen"}), ("evaluation", {"flip": False}),
        ("evaluation", {"scales": (0.5,)}),
        ("model", {"time_conditioned": False}), ("data", {"eval_split": "train"}),
    ):  # fmt: skip
        changed = dataclasses.replace(official, **{field: dataclasses.replace(getattr(official, field), **changes)})
        assert verdicts([0.054], settings=changed) == ("trend only", {}), changes


def test_steps_that_are_not_printed_are_not_compared():
    record = make_depth_record("kitti_swin_t", {1: [0.9], 3: [0.054]}, images=652, **PRINTED)
    assert {c.steps for c in compare(record.settings(), record.dataset, record.scores)} == {3}


# -- figures -----------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def strict():
    """A warning while drawing is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("default", ResourceWarning)  # of what other tests left to the garbage collector
        yield


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize(
    ("name", "size", "shape"), [("nyu_mini", (36, 48), (2, 6)), ("kitti_mini", (24, 80), (4, 3))], ids=["4:3", "wide"]
)
def test_maps_are_drawn_on_shared_scales(name, size, shape, sparse):
    figure = figure_depth(make_depth_record(name), make_samples(size, 2, sparse=sparse))
    panels = [axes for axes in figure.drawing.findobj(mpl.axes.Axes) if axes.images and axes.get_title() != "image"]
    grid = panels[0].get_subplotspec().get_gridspec()
    assert (grid.nrows, grid.ncols) == shape
    depths = [axes for axes in panels if axes.images[0].get_cmap().name == "magma_r"]
    assert len({id(axes.images[0].norm) for axes in depths}) == 1 and len(depths) >= 6  # two images, three maps each
    drawn = np.ma.getmaskarray(depths[0].images[0].get_array()).mean()
    assert (0.3 < drawn < 0.8) if sparse else drawn < 0.3  # points are enlarged, what was not measured stays white
    assert name in figure.caption and f"protocol {recipe(name).evaluation.protocol}" in figure.caption
    figure.drawing.canvas.draw()
    assert figure.name == ("ddp_figure9" if name == "nyu_mini" else "ddp_figure8")


def test_images_of_different_sizes_and_one_alone():
    mixed = [*make_samples((36, 48), 1), *make_samples((48, 36), 1)]
    for samples in (mixed, mixed[:1]):
        figure_depth(make_depth_record("nyu_mini"), samples).drawing.canvas.draw()


@pytest.mark.parametrize("constant", [None, make_mean_depth(0.21), make_mean_depth(5.0)], ids=["none", "near", "far"])
def test_steps_beside_baseline_and_constant(constant):
    record, baseline = make_depth_record("nyu_mini"), make_depth_record("nyu_mini_baseline", {1: [0.25]})
    figure = figure_depth_steps([record], [baseline], make_depth_uncertainty(), constant)
    left, right = figure.drawing.axes
    assert list(left.lines[0].get_xdata()) == record.steps
    np.testing.assert_allclose(left.lines[0].get_ydata(), [np.mean(record.values(step)) for step in record.steps])
    assert set(left.lines[1].get_ydata()) == {0.25}
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels[:2] == ["DDP", "without diffusion"]
    assert labels[2:] == ([] if constant is None else [f"mean depth map{': 5.000' if constant.score.rel > 1 else ''}"])
    assert [line.get_label() for line in right.lines][2:] == ["oracle", "at random (AUSE 0.50)"]
    assert "2 sampling seeds of one training" in figure.caption
    figure.drawing.canvas.draw()


def test_band_over_trainings():
    records = [
        make_depth_record(rel={3: [v, v + 0.02]}, settings=seeded(recipe("nyu_mini"), i))
        for i, v in ((0, 0.1), (1, 0.2))
    ]
    figure = figure_depth_steps(records, [], None, None)
    assert list(figure.drawing.axes[0].lines[0].get_ydata()) == [pytest.approx(0.16)]
    assert "2 trainings" in figure.caption and figure.sources == ("nyu_mini", "nyu_mini-seed1")
    figure.drawing.canvas.draw()


# -- everything again from what is on disk -----------------------------------------------------------------------------


def test_a_preset_of_depth_alone_is_rendered_again(tmp_path):
    name = "sevenscenes_lite0"
    records = [make_depth_record(name), make_depth_record(settings=seeded(recipe(name), 1))]
    write_records(tmp_path, *records, make_depth_record(f"{name}_baseline", {1: [0.3]}))
    folder = tmp_path / "sevenscenes/runs" / name
    write_samples(folder, make_samples(count=1))
    write_mean_depth(folder, make_mean_depth(protocol="indoor"))
    write_analyses(tmp_path, make_depth_uncertainty(name, "sevenscenes"))
    written = {path.relative_to(tmp_path / "sevenscenes").as_posix() for path in rerender("sevenscenes", tmp_path)}
    expected = {
        "tables/ddp_table7.md",
        "tables/ddp_claims.md",
        "figures/ddp_figure9.pdf",
        "figures/ddp_figure9_steps.pdf",
    }
    assert expected <= written
    maps, steps = depth_figures(name, "sevenscenes", tmp_path)
    assert maps.sources == (name,) and steps.sources == (name, f"{name}-seed1", f"{name}_baseline")


def test_figures_of_a_training_seed(tmp_path):
    name = "sevenscenes_lite0"
    seeds = [make_depth_record(settings=seeded(recipe(name), seed)) for seed in (1, 2)]
    write_records(tmp_path, *seeds, make_depth_record(f"{name}_baseline", {1: [0.3]}))
    write_samples(tmp_path / "sevenscenes/runs" / f"{name}-seed2", make_samples(count=1))
    maps, steps = depth_figures(f"{name}-seed2", "sevenscenes", tmp_path)
    assert maps.sources == (f"{name}-seed2",)
    assert steps.sources == (f"{name}-seed2", f"{name}-seed1", f"{name}_baseline")
    with pytest.raises(FileNotFoundError, match=f"{name} holds no record; run {name} first"):
        depth_figures(name, "sevenscenes", tmp_path)


def test_without_samples_tables_are_rendered_all_the_same(tmp_path):
    write_records(tmp_path, make_depth_record("kitti_lidar_lite0"))
    written = [path.name for path in rerender("kitti_lidar", tmp_path)]
    assert "ddp_table4.md" in written and not any(name.startswith("ddp_figure8") for name in written)
    with pytest.raises(FileNotFoundError, match="run the recipe again"):
        depth_figures("kitti_lidar_lite0", "kitti_lidar", tmp_path)


def test_damaged_samples_stop_the_rendering(tmp_path):
    write_records(tmp_path, make_depth_record("kitti_lidar_lite0"))
    (tmp_path / "kitti_lidar/runs/kitti_lidar_lite0/depth_samples.npz").write_bytes(b"PK")
    with pytest.raises(RecordError, match="holds no depth samples"):
        rerender("kitti_lidar", tmp_path)


def test_a_model_that_was_not_run_has_no_figures(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nyu_mini.* holds no record; run nyu_mini first"):
        depth_figures("nyu_mini", "mini", tmp_path)
