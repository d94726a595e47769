"""Figures: the numbers drawn are the record's, the paper's stay apart, files are vector and repeatable."""

import itertools
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from workbook.fakes import make_record, make_trajectory

from ddp_repro.papers.ddp.figures import figure3 as figures
from ddp_repro.papers.ddp.samples.segmentation import load_trajectory
from ddp_repro.workbook.figures import panels, style
from ddp_repro.workbook.figures.style import save_figure
from ddp_repro.workbook.runs.records import RecordError

mpl.use("Agg")
MIOU = {1: [38.0, 40.0], 3: [41.0, 42.0], 10: [42.0, 42.0]}


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "trajectory.npz"
    make_trajectory(path)
    return load_trajectory(path)


@pytest.fixture
def record():
    return make_record("cityscapes_mini", images=24, miou=MIOU)


def test_line_is_the_mean_and_band_the_deviation(record):
    baseline = make_record("cityscapes_mini_baseline", images=24, miou={1: [39.5]})
    ours, _ = figures.figure_3a(record, baseline).drawing.axes
    mean, level = ours.lines[0], ours.lines[-1]
    assert list(mean.get_xdata()) == [1, 3, 10]
    assert list(mean.get_ydata()) == [39.0, 41.5, 42.0]
    assert set(level.get_ydata()) == {39.5}
    band = ours.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(39.0 - 2**0.5)


def test_printed_numbers_have_an_axis_of_their_own(record):
    ours, paper = figures.figure_3a(record).drawing.axes
    drawn = [y for line in ours.lines for y in line.get_ydata()]
    assert max(drawn) < 80
    printed = {y for line in paper.lines for y in line.get_ydata()}
    assert printed == {82.33, 82.60, 82.3}
    assert "measured (mini: synthetic, 24 images)" in ours.get_title(loc="left")
    assert "printed" in paper.get_title(loc="left")


def test_legends_are_outside_the_data(record):
    drawing = figures.figure_3a(record).drawing
    drawing.canvas.draw()
    for axes in drawing.axes:
        legend = axes.get_legend().get_window_extent()
        assert legend.y1 <= axes.get_window_extent().y0


def test_baseline_has_no_steps_to_draw():
    with pytest.raises(ValueError, match="no sampling steps"):
        figures.figure_3a(make_record("cityscapes_mini_baseline", miou={1: [39.5]}))


def test_colours_differ_in_lightness():
    grey = {name: np.dot(to_rgb(getattr(style, name)), (0.299, 0.587, 0.114)) for name in ("BLUE", "ORANGE", "BLACK")}
    values = sorted(grey.values())
    assert min(b - a for a, b in itertools.pairwise(values)) > 0.2


def test_trajectory_panels(record, trajectory):
    figure = figures.figure_3b(trajectory, record)
    pictures = [axes.get_images()[0].get_array() for axes in figure.drawing.axes]
    assert len(pictures) == 12
    assert all(picture.shape[:2] == (32, 64) for picture in pictures)
    third = panels.enlarged(trajectory.palette[trajectory.predictions[2]], (32, 64))
    assert (pictures[9] == third).all()
    assert "street 1" in figure.caption


def test_short_trajectory_shows_the_steps_it_has(record, tmp_path):
    make_trajectory(tmp_path / "t.npz", steps=3)
    assert len(figures.figure_3b(load_trajectory(tmp_path / "t.npz"), record).drawing.axes) == 8


def test_error_map_leaves_out_ignored_pixels(record, trajectory):
    figure = figures.figure_3c(trajectory, record)
    errors = np.ma.filled(figure.drawing.axes[2].get_images()[0].get_array(), np.nan)
    last = panels.enlarged(trajectory.predictions[-1], (32, 64))
    assert np.isnan(errors[:4]).all()
    assert (errors[4:] == (last != trajectory.label)[4:]).all()
    uncertainty = panels.enlarged(trajectory.uncertainty, (32, 64))
    wrong = uncertainty[4:][(last != trajectory.label)[4:]].mean()
    assert f"{wrong:.3f} on wrong pixels" in figure.caption


def test_uncertainty_is_the_share_of_changes(trajectory):
    changes = np.mean(trajectory.predictions[1:] != trajectory.predictions[:-1], axis=0)
    assert np.allclose(trajectory.uncertainty, changes)


def test_enlarging_is_nearest_neighbour():
    small = np.arange(6).reshape(2, 3)
    assert (panels.enlarged(small, (4, 6)) == np.kron(small, np.ones((2, 2), dtype=int))).all()


def test_prediction_figure():
    labels = np.zeros((8, 16), dtype=np.int64)
    prediction = SimpleNamespace(labels=labels, uncertainty=np.zeros((8, 16)), uncertainty_score="change_count")
    dataset = SimpleNamespace(palette=((128, 64, 128),), class_names=("road",))
    figure = figures.figure_prediction(np.zeros((8, 16, 3), np.uint8), prediction, dataset, "cityscapes_mini")
    assert len(figure.drawing.axes) == 3
    assert [text.get_text() for text in figure.drawing.legends[0].get_texts()] == ["road"]


def test_files_are_vector_small_and_repeatable(record, tmp_path):
    paths = save_figure(figures.figure_3a(record), tmp_path / "a")
    again = save_figure(figures.figure_3a(record), tmp_path / "b")
    assert [p.name for p in paths] == ["ddp_figure3a.pdf", "ddp_figure3a.png", "ddp_figure3a.html"]
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]
    pdf = paths[0].read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/Subtype /Image" not in pdf
    assert b"/Type3" not in pdf  # fonts as TrueType: journals refuse the other kind
    assert len(pdf) < 100_000
    assert figures.figure_3a(record)._repr_png_().startswith(b"\x89PNG")


def test_figure_page_names_its_runs(record, tmp_path):
    text = save_figure(figures.figure_3a(record), tmp_path)[2].read_text()
    assert "Runs: cityscapes_mini" in text
    assert 'src="figures/ddp_figure3a.png"' in text


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 truncated", b"<html>"])
def test_damaged_trajectory_is_named(tmp_path, content):
    path = tmp_path / "trajectory.npz"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"trajectory\.npz is not a saved trajectory"):
        load_trajectory(path)


def test_trajectory_with_code_in_it_is_refused(tmp_path):
    path = tmp_path / "trajectory.npz"
    np.savez(path, image=np.array([object()], dtype=object))
    with pytest.raises(RecordError, match="not a saved trajectory"):
        load_trajectory(path)


def test_missing_trajectory(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"trajectory\.npz is missing; run the recipe again"):
        load_trajectory(tmp_path / "trajectory.npz")
