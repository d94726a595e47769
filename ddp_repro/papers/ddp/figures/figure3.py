"""Figure 3 of the paper, drawn from records and saved trajectories: no model and no data needed.

a: dynamic inference (mIoU over sampling steps); b: one image's way through the steps; c: uncertainty beside errors.
The paper's numbers appear in an axis of their own, never on the scale of a measured curve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ddp_repro.evaluation.measure import spread
from ddp_repro.papers.ddp.samples.segmentation import SavedTrajectory
from ddp_repro.tasks.segmentation.score import SegmentationScore
from ddp_repro.workbook.figures.panels import IGNORE, class_legend, colour_bar, colours, enlarged, row_label, show
from ddp_repro.workbook.figures.style import BLACK, BLUE, GREY, ORANGE, SEQUENTIAL, TEXT_WIDTH, Figure, paper_style
from ddp_repro.workbook.runs.records import Record
from ddp_repro.workbook.tables.printed import load_table
from ddp_repro.workbook.tables.table import measured_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ddp_repro.tasks.segmentation.dataset import SegmentationDataset
    from ddp_repro.tasks.segmentation.predict import Prediction
    from ddp_repro.workbook.tables.printed import PaperRow

SHOWN_STEPS = (1, 2, 3, 5, 10)


def figure_3a(record: Record, baseline: Record | None = None) -> Figure:
    """mIoU over sampling steps: mean and band of ± one standard deviation over seeds; the baseline as a level line.

    The right-hand axis shows what the paper prints for Cityscapes, on its own scale.

    Raises:
        ValueError: ``record`` is a run of the baseline, which has no sampling steps.
    """
    import matplotlib.pyplot as plt

    if not record.seeds:
        raise ValueError(f"{record.run} has no sampling steps; give the run of a diffusion model")
    with paper_style():
        drawing, (ours, paper) = plt.subplots(
            1, 2, figsize=(TEXT_WIDTH, 2.35), width_ratios=(1.55, 1), layout="constrained", gridspec_kw={"wspace": 0.08}
        )
        _draw_measured(ours, record, baseline)
        _draw_printed(paper)
        for axes in (ours, paper):
            axes.set_xticks(SHOWN_STEPS)
            axes.set_xlabel("sampling steps")
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2, columnspacing=1.2)
        plt.close(drawing)
    runs = (record.run, *([baseline.run] if baseline else []))
    caption = (
        f"Left: mIoU over 1 to {max(record.steps)} sampling steps of one set of weights, {_measured(record)}; "
        f"mean and band of ± 1 standard deviation over {len(record.seeds)} sampling seeds. "
        "Right: the paper's numbers (Cityscapes val), on an axis of their own."
    )
    return Figure("ddp_figure3a", "Figure 3a. Dynamic inference: more steps, same weights", caption, runs, drawing)


def figure_3b(trajectory: SavedTrajectory, record: Record) -> Figure:
    """Draw the way of one image: the noisy map that enters a step, and the prediction that leaves it."""
    import matplotlib.pyplot as plt

    steps = [s for s in SHOWN_STEPS if s <= len(trajectory.predictions)]
    height, width = trajectory.image.shape[:2]
    columns = 1 + len(steps)
    with paper_style():
        panel = TEXT_WIDTH / columns
        size = (TEXT_WIDTH, 2 * panel * height / width + 0.75)
        drawing, axes = plt.subplots(2, columns, figsize=size, layout="constrained", squeeze=False)
        show(axes[0, 0], trajectory.image, "image")
        show(axes[1, 0], colours(trajectory.label, trajectory.palette), "ground truth", below=True)
        for column, step in enumerate(steps, start=1):
            show(axes[0, column], enlarged(trajectory.maps[step - 1], (height, width)), f"step {step}")
            show(
                axes[1, column],
                enlarged(colours(trajectory.predictions[step - 1], trajectory.palette), (height, width)),
            )
        row_label(axes[0, 1], "noisy map")
        row_label(axes[1, 1], "prediction")
        seen = np.concatenate([trajectory.label.ravel(), trajectory.predictions[-1].ravel()])
        class_legend(drawing, seen, trajectory.class_names, trajectory.palette)
        plt.close(drawing)
    caption = (
        f"The noisy map before a step (first three principal components as RGB) and the prediction after it, "
        f"of {len(trajectory.predictions)} steps; image {trajectory.image_id}, seed {trajectory.seed}, "
        f"{_measured(record)}."
    )
    return Figure("ddp_figure3b", "Figure 3b. Sampling trajectory", caption, (record.run,), drawing)


def figure_3c(trajectory: SavedTrajectory, record: Record) -> Figure:
    """Draw the uncertainty map (label changes over the steps) beside the map of errors of the last step."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap

    height, width = trajectory.image.shape[:2]
    last = enlarged(trajectory.predictions[-1], (height, width))
    uncertainty = enlarged(trajectory.uncertainty, (height, width))
    errors = np.where(trajectory.label == IGNORE, np.nan, last != trajectory.label)
    with paper_style():
        size = (TEXT_WIDTH, (TEXT_WIDTH - 0.6) / 4 * height / width + 0.42)
        drawing, axes = plt.subplots(1, 4, figsize=size, layout="constrained")
        show(axes[0], trajectory.image, "image")
        show(axes[1], colours(last, trajectory.palette), "prediction")
        show(axes[2], errors, "errors", cmap=ListedColormap(["#F4F4F4", BLACK]), vmin=0, vmax=1)
        shown = show(axes[3], uncertainty, "uncertainty", cmap=SEQUENTIAL, vmin=0, vmax=max(uncertainty.max(), 1e-6))
        axes[2].set_facecolor("#BDBDBD")  # ignored pixels
        colour_bar(drawing, axes[3], shown, "label changes\n(fraction of steps)")
        axes[2].text(
            0.5, -0.06, "black: wrong, grey: ignored", transform=axes[2].transAxes, ha="center", va="top", size=6.5
        )
        plt.close(drawing)
    wrong, right = uncertainty[errors == 1], uncertainty[errors == 0]
    caption = (
        f"Errors after {len(trajectory.predictions)} steps beside the count of label changes over the steps, "
        f"image {trajectory.image_id}, {_measured(record)}. Mean uncertainty is {_mean(wrong)} on wrong pixels "
        f"and {_mean(right)} on right ones."
    )
    return Figure("ddp_figure3c", "Figure 3c. Uncertainty for free", caption, (record.run,), drawing)


def figure_prediction(picture: np.ndarray, prediction: Prediction, dataset: SegmentationDataset, run: str) -> Figure:
    """Draw a picture (H, W, 3), its label map over it, and its uncertainty."""
    import matplotlib.pyplot as plt

    height, width = picture.shape[:2]
    painted = np.asarray(dataset.palette, dtype=np.uint8)[prediction.labels]
    with paper_style():
        size = (TEXT_WIDTH, (TEXT_WIDTH - 0.6) / 3 * height / width + 0.42)
        drawing, axes = plt.subplots(1, 3, figsize=size, layout="constrained")
        show(axes[0], picture, "picture")
        show(axes[1], (0.35 * picture + 0.65 * painted).astype(np.uint8), "classes")
        shown = show(axes[2], prediction.uncertainty, "uncertainty", cmap=SEQUENTIAL, vmin=0)
        colour_bar(drawing, axes[2], shown, prediction.uncertainty_score.replace("_", " "))
        class_legend(drawing, prediction.labels, dataset.class_names, np.asarray(dataset.palette))
        plt.close(drawing)
    caption = "A picture, the most likely class of every pixel, and how uncertain the model is of it."
    return Figure("quickstart", "A prediction and its uncertainty", caption, (run,), drawing)


# -- Figure 3a ---------------------------------------------------------------------------------------------------------


def _draw_measured(axes: Axes, record: Record, baseline: Record | None) -> None:
    import pandas as pd
    import seaborn as sns

    scores = [(s.steps, s.miou, s.seed) for s in cast(list[SegmentationScore], record.scores)]
    frame = pd.DataFrame(scores, columns=["steps", "mIoU", "seed"])
    sns.lineplot(
        frame, x="steps", y="mIoU", errorbar="sd", color=BLUE, marker="o", markeredgewidth=0, ax=axes,
        label="DDP, mean ± std over seeds", err_kws={"alpha": 0.22, "linewidth": 0},
    )  # fmt: skip
    if baseline:
        level, _ = spread(baseline.values(baseline.steps[0]))
        axes.axhline(level, color=ORANGE, linestyle=(0, (5, 2)), label="non-diffusion baseline")
    axes.set_ylabel("mIoU (%)")
    axes.set_title(_wrapped(f"measured ({record.preset}: {_data(record)})"), loc="left")
    axes.margins(y=0.18)


def _draw_printed(axes: Axes) -> None:
    """Mark the numbers of the text, hollow, without a line where the paper gives only two points."""
    rows = [row for row in load_table("ddp_figure3").rows if row.backbone == "ConvNeXt-T"]
    plain = [row for row in rows if row.method == "DDP"]
    aligned = [row for row in rows if row.method != "DDP"]
    _mark(axes, plain, "DDP", {"marker": "s", "color": BLACK, "markersize": 5})
    _mark(axes, aligned, "self-aligned", {"marker": "D", "color": GREY, "linestyle": ":", "linewidth": 0.9})
    axes.set_xlim(0, 11)
    axes.set_ylim(82.15, 82.75)
    axes.set_title("printed (Cityscapes, ConvNeXt-T)", loc="left", color=GREY)
    axes.set_facecolor("#F7F7F7")


def _mark(axes: Axes, rows: list[PaperRow], label: str, style: dict[str, Any]) -> None:
    points = [(row.steps, row.values["miou"]) for row in rows]
    defaults: dict[str, Any] = {"linestyle": "none", "fillstyle": "none", "markeredgewidth": 1.0}
    axes.plot(*zip(*points, strict=True), label=label, **(defaults | style))


def _data(record: Record) -> str:
    return measured_title(record.preset, record.recipe["data"]["dataset"], [record]).split(": ", 1)[1].rstrip(")")


def _measured(record: Record) -> str:
    return f"measured on {record.preset}: {_data(record)}"


def _wrapped(text: str, width: int = 58) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width))


def _mean(values: np.ndarray) -> str:
    return f"{values.mean():.3f}" if values.size else "undefined"
