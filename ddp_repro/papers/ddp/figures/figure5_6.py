"""Figures 5 and 6: rows of images on their way through the sampling steps, with uncertainty and errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ddp_repro.data.transforms import size_of
from ddp_repro.papers.ddp.samples.segmentation import SavedTrajectory
from ddp_repro.workbook.figures.panels import IGNORE, class_legend, colours, enlarged, show
from ddp_repro.workbook.figures.style import BLACK, SEQUENTIAL, TEXT_WIDTH, Figure, paper_style
from ddp_repro.workbook.runs.analyses import Analysis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN_STEPS = (1, 2, 3, 10)
DATASETS = {"ddp_figure5": "Cityscapes", "ddp_figure6": "ADE20K"}


def figure_trajectories(name: str, sampled: Analysis, trajectories: Sequence[SavedTrajectory]) -> Figure:
    """One row an image: image, ground truth, predictions after some steps, uncertainty, errors of the last step.

    Args:
        name: ``ddp_figure5`` (Cityscapes) or ``ddp_figure6`` (ADE20K).
    """
    import matplotlib.pyplot as plt

    steps = [s for s in SHOWN_STEPS if s <= len(trajectories[0].predictions)]
    titles = ["image", "ground truth", *(f"step {s}" for s in steps), "uncertainty", "errors"]
    height, width = trajectories[0].image.shape[:2]
    panel = TEXT_WIDTH / len(titles)
    brightest = max(float(t.uncertainty.max()) for t in trajectories) or 1.0
    seen = np.concatenate([np.concatenate([t.label.ravel(), t.predictions[-1].ravel()]) for t in trajectories])
    legend_rows = 1 + (len(np.unique(seen[seen != IGNORE])) > 8)
    with paper_style():
        size = (TEXT_WIDTH, len(trajectories) * (panel * height / width + 0.02) + 0.22 + 0.15 * legend_rows)
        drawing, axes = plt.subplots(len(trajectories), len(titles), figsize=size, layout="constrained", squeeze=False)
        drawing.set_layout_engine("constrained", w_pad=0.012, h_pad=0.012, wspace=0.0, hspace=0.0)
        for row, trajectory in zip(axes, trajectories, strict=True):
            _draw_row(row, trajectory, steps, brightest)
        for column, title in zip(axes[0], titles, strict=True):
            column.set_title(title, pad=3, size=7.5)
        class_legend(drawing, seen, trajectories[0].class_names, trajectories[0].palette)
        plt.close(drawing)
    last = len(trajectories[0].predictions)
    caption = (
        f"The {len(trajectories)} evaluation images with the most classes, {sampled.run} ({sampled.preset}), one run "
        f"of {last} steps. Uncertainty: how often the label changes over the steps, bright is often (at most "
        f"{brightest:.0%} of the steps here). Errors after step {last}: black is wrong, grey is not labelled."
    )
    title = f"Figure {name[-1]}. Sampling trajectories, {DATASETS[name]}"
    return Figure(name, title, caption, (sampled.run,), drawing)


def _draw_row(row: Sequence[Axes], trajectory: SavedTrajectory, steps: Sequence[int], brightest: float) -> None:
    from matplotlib.colors import ListedColormap

    size = size_of(trajectory.image)
    predictions = [enlarged(trajectory.predictions[s - 1], size) for s in (*steps, len(trajectory.predictions))]
    errors = np.where(trajectory.label == IGNORE, np.nan, predictions[-1] != trajectory.label)
    show(row[0], trajectory.image)
    show(row[1], colours(trajectory.label, trajectory.palette))
    for axes, prediction in zip(row[2:], predictions[:-1], strict=False):
        show(axes, colours(prediction, trajectory.palette))
    show(row[-2], enlarged(trajectory.uncertainty, size), cmap=SEQUENTIAL, vmin=0, vmax=brightest)
    show(row[-1], errors, cmap=ListedColormap(["#F4F4F4", BLACK]), vmin=0, vmax=1)
    row[-1].set_facecolor("#BDBDBD")
