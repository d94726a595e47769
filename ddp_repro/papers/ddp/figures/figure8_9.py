"""Figures 8 and 9: depth maps, their errors and uncertainty, and what further steps do, drawn from records alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

from ddp_repro.data.transforms import resize_image, size_of
from ddp_repro.evaluation.measure import number_text, or_nan, spread
from ddp_repro.papers.ddp.samples.depth import SPREAD_STEPS, DepthSample
from ddp_repro.papers.ddp.settings import picture_settings
from ddp_repro.tasks.depth.protocols import PROTOCOLS
from ddp_repro.tasks.depth.score import DepthScore
from ddp_repro.workbook.figures.panels import show
from ddp_repro.workbook.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SEQUENTIAL,
    SKY,
    TEXT_WIDTH,
    VERMILION,
    Figure,
    paper_style,
)
from ddp_repro.workbook.runs.analyses import Analysis
from ddp_repro.workbook.runs.constant import ConstantScore
from ddp_repro.workbook.runs.records import Record
from ddp_repro.workbook.tables.measures import measures
from ddp_repro.workbook.tables.table import measured_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import SubFigure

DEPTH_COLOURS = "magma_r"  # near is bright
FIRST, SHOWN = 1, 3  # sampling steps whose depth is drawn
WIDE = 2.0  # aspect from which six panels stand in two rows
FIGURES = {
    "ddp_table4": ("ddp_figure8", "Figure 8. Depth outdoors"),
    "ddp_table7": ("ddp_figure9", "Figure 9. Depth indoors"),
}
SPREADS = {
    "step_spread": ("over steps", GREEN), "sample_spread": ("over noise", VERMILION),
    "mirror_spread": ("mirrored", ORANGE), "part_spread": ("over parts", SKY), "view_spread": ("over all views", BLUE),
}  # fmt: skip


def figure_depth(record: Record, samples: list[DepthSample]) -> Figure:
    """Image, measured depth, depth after one and three steps, relative error and uncertainty of a few images."""
    import matplotlib.pyplot as plt

    name, title = FIGURES[record.table]
    height, width = samples[0].image.shape[:2]
    columns = 3 if width / height > WIDE else 6
    rows = len(samples) * 6 // columns
    with paper_style():
        panel = TEXT_WIDTH / columns * height / width
        titled = rows if columns == 3 else 1
        bars = 0.42  # inches below the panels
        size = (TEXT_WIDTH, rows * (panel + 0.03) + titled * 0.16 + bars)
        drawing = plt.figure(figsize=size, layout="constrained")
        drawing.set_layout_engine("constrained", w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
        parts = drawing.subfigures(2, 1, height_ratios=(size[1] - bars, bars), squeeze=False)
        upper, lower = parts[:, 0]
        axes = upper.subplots(rows, columns, squeeze=False).reshape(len(samples), 6)
        scales = _scales(samples, record)
        for number, sample in enumerate(samples):
            shown = _draw_sample(axes[number], sample, scales, titles=number == 0 or columns == 3)
        _bars(lower, shown)
        plt.close(drawing)
    reach = float(max(sample.spread.max() for sample in samples))
    caption = (
        f"Depth after {FIRST} and {SHOWN} sampling steps, one noise sample, {_measured(record)}. All depths share one "
        f"colour scale, and so do all errors (relative, of {SHOWN} steps; white: not measured) and all uncertainties "
        f"(standard deviation over the picture, its mirror image and parts of it; {SPREAD_STEPS} steps each). Sparse "
        f"measurements are drawn enlarged. The largest uncertainty is {reach:.3g} m."
    )
    return Figure(name, title, caption, (record.run,), drawing)


def figure_depth_steps(
    records: list[Record], baselines: list[Record], uncertainty: Analysis | None, constant: ConstantScore | None
) -> Figure:
    """Left: REL over sampling steps beside the network without diffusion; right: does the spread find the errors?

    Args:
        records: trainings of one recipe; the band is over them, or over sampling seeds where there is one only.
    """
    import matplotlib.pyplot as plt

    name, title = FIGURES[records[0].table]
    with paper_style():
        drawing, (left, right) = plt.subplots(1, 2, figsize=(TEXT_WIDTH, 2.5), layout="constrained")
        _draw_steps(left, records, baselines, constant)
        _draw_sparsification(right, uncertainty)
        for axes in (left, right) if uncertainty else (left,):
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, columnspacing=1.2)
        plt.close(drawing)
    over = (
        f"{len(records)} trainings" if len(records) > 1 else f"{len(records[0].seeds)} sampling seeds of one training"
    )
    caption = (
        f"Left: REL over sampling steps, {_measured(records[0])}; mean and ± 1 standard deviation over {over}. "
        "Right: REL of the pixels that remain after the most uncertain are left out; the oracle leaves out the worst."
    )
    runs = tuple(record.run for record in [*records, *baselines])
    return Figure(f"{name}_steps", f"{title}: steps and uncertainty", caption, runs, drawing)


def _scales(samples: list[DepthSample], record: Record) -> dict[str, Normalize]:
    """One scale for all depths (logarithmic: near differences count), errors and uncertainties."""
    from matplotlib.colors import LogNorm, Normalize

    known = np.concatenate([sample.truth[sample.truth > 0].astype(float) for sample in samples])
    near, far = np.quantile(known, (0.01, 0.99))
    spreads = np.concatenate([sample.spread.astype(float).ravel() for sample in samples])
    return {
        "depth": LogNorm(max(near, picture_settings(record.settings()).min_depth), far, clip=True),
        "error": Normalize(0, 0.5, clip=True),
        "spread": Normalize(0, max(float(np.quantile(spreads, 0.99)), 1e-6), clip=True),
    }


def _draw_sample(
    axes: np.ndarray, sample: DepthSample, scales: dict[str, Normalize], *, titles: bool
) -> dict[str, Any]:
    size = size_of(sample.image)
    truth, shown = sample.truth.astype(float), {}
    depth = {step: resize_image(sample.depths[step - 1].astype(np.float32), size) for step in (FIRST, SHOWN)}
    error = np.abs(depth[SHOWN] - truth) / np.where(truth > 0, truth, np.nan)
    words = ["image", "measured", f"{FIRST} step", f"{SHOWN} steps", "relative error", "uncertainty"]
    words = words if titles else [""] * 6
    show(axes[0], sample.image, words[0])
    shown["depth"] = _points(axes[1], truth, truth, words[1], cmap=DEPTH_COLOURS, norm=scales["depth"])
    for panel, step in ((axes[2], FIRST), (axes[3], SHOWN)):
        show(panel, depth[step], words[2 + (step == SHOWN)], cmap=DEPTH_COLOURS, norm=scales["depth"])
    shown["error"] = _points(axes[4], error, truth, words[4], cmap=SEQUENTIAL, norm=scales["error"])
    spread_map = resize_image(sample.spread.astype(float), size)
    shown["spread"] = show(axes[5], spread_map, words[5], cmap=SEQUENTIAL, norm=scales["spread"])
    return shown


def _points(axes: Axes, values: np.ndarray, truth: np.ndarray, title: str, **options: Any) -> Any:
    """Draw a map of measured pixels, three pixels wide where they are sparse, so that they can be seen."""
    measured = truth > 0
    points = np.where(measured, values, -1.0)
    if measured.mean() < 0.5:
        points = np.where(measured, points, cv2.dilate(points, np.ones((3, 3))))  # the largest value of the neighbours
    axes.set_facecolor("white")
    return show(axes, np.where(points >= 0, points, np.nan), title, **options)


def _bars(drawing: SubFigure, shown: dict[str, Any]) -> None:
    from matplotlib.ticker import LogLocator

    labels = {"depth": "depth (m, logarithmic)", "error": "relative error", "spread": "uncertainty (m)"}
    axes = drawing.subplots(1, 3, gridspec_kw={"wspace": 0.1})
    for place, (name, label) in zip(axes, labels.items(), strict=True):
        place.set_axis_off()
        inside = place.inset_axes((0.12, 0.72, 0.76, 0.26))
        bar = drawing.figure.colorbar(shown[name], cax=inside, orientation="horizontal")
        bar.set_label(label, size=6.5, labelpad=1)
        bar.outline.set_visible(False)
        bar.ax.tick_params(which="both", labelsize=6, pad=1.5)
        if name == "depth":
            bar.ax.xaxis.set_major_formatter("{x:g}")
            bar.ax.xaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
            bar.ax.xaxis.set_minor_formatter("{x:g}")


def _draw_steps(axes: Axes, records: list[Record], baselines: list[Record], constant: ConstantScore | None) -> None:
    steps = records[0].steps
    columns = [[v for r in records for v in _per_training(r, step, len(records))] for step in steps]
    means, deviations = zip(*(spread(values) for values in columns), strict=True)
    means, deviations = np.array(means), np.array([d or 0.0 for d in deviations])
    axes.fill_between(steps, means - deviations, means + deviations, color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(steps, means, color=BLUE, marker="o", label="DDP")
    if baselines:
        mean, deviation = spread([value for record in baselines for value in record.values(1)])
        axes.axhline(mean, color=ORANGE, linestyle="--", label="without diffusion")
        axes.axhspan(mean - (deviation or 0), mean + (deviation or 0), color=ORANGE, alpha=0.15, linewidth=0)
    rel = cast(DepthScore, constant.score).rel if constant else None
    if rel is not None:
        low, high = axes.get_ylim()
        if rel < high + 2 * (high - low):
            axes.axhline(rel, color=GREY, linestyle=":", label="mean depth map")
        else:  # it would flatten the curve
            axes.plot([], [], color=GREY, linestyle=":", label=f"mean depth map: {rel:.3f}")
    axes.set(xticks=steps, xlabel="sampling steps", ylabel=measures()["rel"].heading)


def _per_training(record: Record, steps: int, trainings: int) -> list[float]:
    """One value a training if there are several (the mean over sampling seeds), else one a sampling seed."""
    values = record.values(steps)
    return [sum(values) / len(values)] if trainings > 1 else values


def _draw_sparsification(axes: Axes, uncertainty: Analysis | None) -> None:
    if uncertainty is None:
        axes.set_axis_off()
        return
    found, fractions = uncertainty.result, uncertainty.result["fractions"]
    curves, areas = found["sparsification"], found["ause"]
    for name, (label, colour) in SPREADS.items():
        if name in curves:  # a record from before the views were compared has two
            axes.plot(fractions, curves[name], color=colour, label=f"{label} (AUSE {number_text(areas[name], 2)})")
    axes.plot(fractions, curves["oracle"], color=BLACK, linestyle="--", label="oracle")
    level = or_nan(curves["oracle"][0])
    axes.axhline(level, color=PURPLE, linestyle=":", label=f"at random (AUSE {number_text(areas['random'], 2)})")
    axes.set(xlabel="fraction of pixels left out", ylabel="REL of the rest", ylim=(0, None))


def _measured(record: Record) -> str:
    title = measured_title(record.preset, record.recipe["data"]["dataset"], [record])
    protocol = PROTOCOLS[record.recipe["evaluation"]["protocol"]]
    return f"{record.run}, {title}; protocol {protocol.name}"
