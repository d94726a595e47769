"""Figures 4 to 6 and the measured 3c: what is drawn is what the analyses say."""

import dataclasses

import matplotlib as mpl
import numpy as np
import pytest
from workbook.fake_analyses import make_analysis, make_drift, make_speed, make_sweep, make_uncertainty, write_analyses
from workbook.fakes import make_record, make_trajectory, write_records

from ddp_repro.papers.ddp.figures.figure4 import Variant, curve, figure_4
from ddp_repro.papers.ddp.figures.figure5_6 import figure_trajectories
from ddp_repro.papers.ddp.figures.uncertainty import figure_uncertainty
from ddp_repro.papers.ddp.pages import rerender
from ddp_repro.papers.ddp.samples.segmentation import load_trajectory
from ddp_repro.papers.ddp.tables.uncertainty import uncertainty_table
from ddp_repro.workbook.figures.style import save_figure
from ddp_repro.workbook.runs.analyses import load_analysis
from ddp_repro.workbook.runs.records import RecordError

mpl.use("Agg")
ZERO = {2: [39.0, 39.0], 3: [40.0, 40.0]}


@pytest.fixture(scope="module")
def drawn():
    names = {"plain": "", "self-aligned, same noise": "_aligned", "self-aligned, fresh noise": "_aligned_fresh"}
    variants = [
        Variant(name, make_sweep(f"cityscapes_mini{end}", zero=ZERO if not end else None), make_drift())
        for name, end in names.items()
    ]
    baseline = make_record("cityscapes_mini_baseline", miou={1: [39.5]})
    return figure_4(variants, make_speed(), baseline)


def panel(figure, title):
    return next(axes for axes in figure.drawing.axes if axes.get_title(loc="left").startswith(title))


def test_lines_are_means_and_bands_deviations(drawn):
    axes = panel(drawn, "(a)")
    assert list(axes.lines[0].get_xdata()) == [1, 2, 3, 10]
    assert list(axes.lines[0].get_ydata()) == pytest.approx([38.5, 40.05, 41.1, 40.05])
    assert set(axes.lines[-1].get_ydata()) == {39.5}
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(38.5 - np.sqrt(0.5))


def test_cost_axes(drawn):
    axes = panel(drawn, "(b)")
    assert list(axes.lines[0].get_xdata()) == pytest.approx([1.2, 1.4, 1.6, 3.0])
    (second,) = axes.child_axes
    assert "ms" in second.get_xlabel()
    assert second._functions[0](1.2) == pytest.approx(100)  # 10 images a second at one step
    assert second._functions[1](second._functions[0](2.0)) == pytest.approx(2.0)


def test_time_differences_and_steps(drawn):
    labels = [line.get_label() for line in panel(drawn, "(c)").lines]
    assert labels == ["td = 0", "td = 1"]
    assert list(panel(drawn, "(f)").lines[0].get_xdata()) == list(range(2, 11))
    assert "8 images" in drawn.caption
    assert drawn.sources[0] == "cityscapes_mini"


def test_legends_are_outside_the_data(drawn):
    drawn.drawing.canvas.draw()
    legend = drawn.drawing.legends[0].get_window_extent()
    assert all(legend.y1 <= axes.get_window_extent().y0 for axes in drawn.drawing.axes)


def test_own_time_difference_is_the_first():
    sweep = make_sweep(zero=ZERO)
    assert curve(sweep)[3] == [41.0, 41.2]
    assert curve(sweep, 0) == ZERO
    assert curve(sweep, metric="macc")[3] == [46.0, 46.2]


@pytest.fixture
def sampled(tmp_path):
    files = [f"trajectory_{n}.npz" for n in range(2)]
    for number, file in enumerate(files):
        make_trajectory(tmp_path / "mini" / "runs" / "cityscapes_mini" / file, seed=number)
    return make_analysis("trajectories", settings={"images": 2}, result={"files": files, "ids": ["a", "b"]})


def test_rows_of_images(tmp_path, sampled):
    folder = tmp_path / "mini" / "runs" / "cityscapes_mini"
    trajectories = [load_trajectory(folder / file) for file in sampled.result["files"]]
    figure = figure_trajectories("ddp_figure5", sampled, trajectories)
    pictures = [axes.get_images()[0].get_array() for axes in figure.drawing.axes]
    assert len(pictures) == 2 * 8
    errors = np.ma.filled(pictures[-1].astype(float), np.nan)
    assert np.isnan(errors[trajectories[1].label == 255]).all()
    assert figure.title.startswith("Figure 5.")


def test_uncertainty_panels_and_table():
    analysis = make_uncertainty()
    figure = figure_uncertainty(analysis)
    assert len(figure.drawing.axes) == 3
    texts = [text.get_text() for text in figure.drawing.legends[0].get_texts()]
    assert "(b) last step, ECE 7.5 %" in texts
    oracle = next(line for line in figure.drawing.axes[0].lines if line.get_label() == "oracle")
    assert max(oracle.get_ydata()) == pytest.approx(15)
    table = uncertainty_table(analysis)
    assert table.frame["AUROC ↑", "per image"].iloc[0] == "0.800 ± 0.100"
    # four images: 0.8 ± 3.182 · 0.1 / 2
    assert table.frame["AUROC ↑", "mean over images, 95 % interval"].iloc[0] == "0.641 to 0.959"
    assert "Expected calibration error (15 bins): 0.075" in table.notes[1]


def test_uncertainty_of_a_bev_map_has_pages_of_its_own():
    analysis = make_uncertainty()
    scores = analysis.result["scores"]
    result = analysis.result | {"scores": scores | {"spread": scores["entropy"]}}
    analysis = dataclasses.replace(analysis, kind="bev_uncertainty", result=result)
    figure, table = figure_uncertainty(analysis), uncertainty_table(analysis)
    assert {figure.name, table.name} == {"ddp_figure7_quality"}
    assert figure.drawing.axes[0].get_xlabel() == "cells kept, most certain first (%)"
    assert list(table.frame["", "Uncertainty"])[-1] == "spread over steps, noise"
    assert any("Every class of every cell" in note for note in table.notes)


@pytest.mark.slow
def test_everything_is_drawn_again_from_the_files_alone(tmp_path, sampled):
    """Under ``camvid``, whose tables count no large models."""
    made = [make_sweep(zero=ZERO), make_drift(), make_speed(), make_uncertainty(), sampled]
    made = [dataclasses.replace(each, run="camvid_lite0", preset="camvid") for each in made]
    write_records(tmp_path, make_record("camvid_lite0"), make_record("camvid_small"))
    write_analyses(tmp_path, *made, dataclasses.replace(made[3], run="camvid_small"))
    (tmp_path / "mini/runs/cityscapes_mini").rename(tmp_path / "pictures")
    for picture in (tmp_path / "pictures").glob("*.npz"):
        picture.rename(tmp_path / "camvid/runs/camvid_lite0" / picture.name)
    assert load_analysis("sweep", "camvid_lite0", "camvid", tmp_path) == made[0]
    names = {path.name for path in rerender("camvid", tmp_path)}
    assert {
        "ddp_figure4.pdf",
        "ddp_figure5.png",
        "ddp_figure3c_quality.png",
        "ddp_figure3c_quality.md",
        "ddp_claims.md",
    } <= names
    assert {"ddp_table5a.md", "ddp_table5e.md", "ddp_figure3c_quality_camvid_small.png"} <= names
    again = save_figure(figure_4([Variant("plain", made[0], made[1])], made[2]), tmp_path / "again")
    assert again[0].read_bytes() == (tmp_path / "camvid" / "figures" / "ddp_figure4.pdf").read_bytes()


def test_damaged_analysis_is_named(tmp_path):
    write_analyses(tmp_path, make_sweep())
    path = tmp_path / "mini" / "runs" / "cityscapes_mini" / "sweep.json"
    path.write_text(path.read_text().replace('"images"', '"pictures"'))
    with pytest.raises(RecordError, match=r"sweep\.json: field 'images' is missing"):
        load_analysis("sweep", "cityscapes_mini", "mini", tmp_path)
