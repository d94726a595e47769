"""Figure 4: sampling drift, what self-aligned training does about it, and what more steps cost; from analyses alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ddp_repro.evaluation.measure import or_nan
from ddp_repro.workbook.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    TEXT_WIDTH,
    VERMILION,
    Figure,
    paper_style,
)
from ddp_repro.workbook.runs.analyses import Analysis
from ddp_repro.workbook.runs.records import Record
from ddp_repro.workbook.tables.printed import load_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

# Name of a training variant -> how its curves look; told apart by marker and dash also without colour.
LOOKS: dict[str, dict[str, object]] = {
    "plain": {"color": BLUE, "marker": "o"},
    "self-aligned, same noise": {"color": VERMILION, "marker": "s", "linestyle": (0, (5, 1.5))},
    "self-aligned, fresh noise": {"color": GREEN, "marker": "^", "linestyle": (0, (1.5, 1.2))},
}
_TD_LOOKS = ((ORANGE, "v", (0, (4, 1.5))), (BLUE, "o", "-"), (BLACK, "D", (0, (1.2, 1.2))), (GREY, "x", "-."))


@dataclass(frozen=True)
class Variant:
    """What is known of one way of training.

    Attributes:
        sweep, drift: the analyses of its weights.
    """

    name: str
    sweep: Analysis
    drift: Analysis


def figure_4(variants: Sequence[Variant], speed: Analysis, baseline: Record | None = None) -> Figure:
    """Six panels: mIoU over steps, over cost, and over time differences; agreement, similarity and change per step.

    Args:
        variants: the plain training first.
        speed: of the plain model; all variants are the same network.
    """
    import matplotlib.pyplot as plt

    plain = variants[0]
    with paper_style():
        drawing, axes = plt.subplots(2, 3, figsize=(TEXT_WIDTH, 4.0), layout="constrained")
        drawing.set_layout_engine("constrained", wspace=0.06, hspace=0.08)
        _draw_steps(axes[0, 0], variants, baseline)
        _draw_cost(axes[0, 1], variants, speed)
        _draw_time_differences(axes[0, 2], plain)
        _draw_per_step(axes[1, 0], variants, "agreement", "(d) label right after a step", "pixels (%)")
        _draw_per_step(axes[1, 1], variants, "code_similarity", "(e) fed-back code vs. truth", "cosine (× 100)")
        _draw_per_step(axes[1, 2], variants, "changed", "(f) label changed by a step", "pixels (%)")
        _shared_legend(drawing, axes[0, 0])
        plt.close(drawing)
    seeds = len(plain.sweep.settings["seeds"])
    caption = (
        f"{plain.sweep.run} ({plain.sweep.preset}), {plain.sweep.images} images. (a) to (c): the number of steps is "
        f"chosen anew for each point; (d) to (f): one run of {plain.drift.settings['steps']} steps, after each of "
        f"them, at the decoder's resolution. Lines are means and bands ± 1 standard deviation over {seeds} sampling "
        f"seeds of one set of weights (a narrow band is hidden by its line). (c): plain training; the official td is "
        f"1. (b): the second axis is the measured time per image ({speed.result['conditions']}). {_printed()}"
    )
    runs = (*(v.sweep.run for v in variants), *([baseline.run] if baseline else []))
    return Figure("ddp_figure4", "Figure 4. Sampling drift and self-aligned denoising", caption, runs, drawing)


def curve(sweep: Analysis, time_difference: int | None = None, metric: str = "miou") -> dict[int, list[float]]:
    """Return one value per seed by steps, at the model's own or another time difference.

    The first time difference of a sweep's settings is the model's own.
    """
    own = int(next(iter(sweep.settings["steps"])))
    wanted = own if time_difference is None else time_difference
    found: dict[int, list[float]] = {}
    for score in sweep.result["scores"]:
        if score["time_difference"] == wanted:
            found.setdefault(score["steps"], []).append(or_nan(score[metric]))
    return found


def _printed() -> str:
    """Say the paper's numbers in words: they are of another model and images, and share no axis with ours."""
    rows = [row for row in load_table("ddp_figure3").rows if row.backbone == "ConvNeXt-T"]
    words = {method: [] for method in dict.fromkeys(row.method for row in rows)}
    for row in rows:
        words[row.method].append(f"{row.values['miou']} at {row.steps}")
    listed = "; ".join(f"{method} {', '.join(numbers)}" for method, numbers in words.items())
    return f"In print, mIoU by steps on Cityscapes with ConvNeXt-T: {listed}."


def _draw_steps(axes: Axes, variants: Sequence[Variant], baseline: Record | None) -> None:
    for variant in variants:
        _band(axes, curve(variant.sweep), label=variant.name, **LOOKS[variant.name])
    if baseline:
        level = baseline.values(baseline.steps[0])[0]
        axes.axhline(level, color=ORANGE, linewidth=1.1, linestyle=(0, (7, 2, 1.5, 2)), label="non-diffusion baseline")
    _finish(axes, "(a) dynamic inference", "sampling steps", "mIoU (%)", list(curve(variants[0].sweep)))


def _draw_cost(axes: Axes, variants: Sequence[Variant], speed: Analysis) -> None:
    macs = variants[0].sweep.result["macs"]
    cost = {steps: (macs["encoder"] + steps * macs["step"]) / 1e9 for steps in curve(variants[0].sweep)}
    for variant in variants:
        scored = {cost[steps]: values for steps, values in curve(variant.sweep).items()}
        _band(axes, scored, label=variant.name, **LOOKS[variant.name])
    _finish(axes, "(b) what it costs", "multiply-accumulates (G)", "mIoU (%)")
    forward, backward = _milliseconds(speed, macs)
    second = axes.secondary_xaxis(-0.34, functions=(forward, backward))
    second.set_xlabel("measured time per image (ms)", labelpad=2)
    second.spines["bottom"].set(visible=True)


def _milliseconds(speed: Analysis, macs: Mapping[str, int]) -> tuple[Callable, Callable]:
    """From GMACs to milliseconds and back: both grow linearly with the steps, so a straight line is fitted."""
    rows = [row for row in speed.result["speeds"] if row["steps"] is not None]
    steps = np.array([row["steps"] for row in rows], dtype=float)
    times = np.array([1000 / row["images_per_second"] for row in rows])
    per_step, fixed = np.polyfit(steps, times, 1)
    slope = per_step / (macs["step"] / 1e9)
    offset = fixed - slope * macs["encoder"] / 1e9
    return lambda cost: offset + slope * np.asarray(cost), lambda time: (np.asarray(time) - offset) / slope


def _draw_time_differences(axes: Axes, plain: Variant) -> None:
    differences = sorted(map(int, plain.sweep.settings["steps"]))
    for difference, (colour, marker, dash) in zip(differences, _TD_LOOKS, strict=False):
        scored = {steps: values for steps, values in curve(plain.sweep, difference).items() if steps > 1}
        _band(axes, scored, label=f"td = {difference}", color=colour, marker=marker, linestyle=dash)
    _finish(axes, "(c) time difference", "sampling steps", "mIoU (%)", [2, 3, 5, 10])
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.26), ncols=3, columnspacing=0.9, handlelength=1.8)


def _draw_per_step(axes: Axes, variants: Sequence[Variant], key: str, title: str, label: str) -> None:
    for variant in variants:
        columns = zip(*variant.drift.result[key], strict=True)
        values = {step: list(column) for step, column in enumerate(columns, start=1) if None not in column}
        _band(axes, values, label=variant.name, **LOOKS[variant.name])
    _finish(axes, title, "step of the run", label, list(range(1, variants[0].drift.settings["steps"] + 1)))


def _band(axes: Axes, values: Mapping[int, Sequence[float]], **look: Any) -> None:
    x = list(values)
    mean = np.array([np.mean(v) for v in values.values()])
    deviation = np.array([np.std(v, ddof=1) if len(v) > 1 else 0.0 for v in values.values()])
    axes.plot(x, mean, linewidth=1.2, markersize=3.2, markeredgewidth=0, **look)
    axes.fill_between(x, mean - deviation, mean + deviation, color=look["color"], alpha=0.18, linewidth=0)


def _finish(axes: Axes, title: str, x: str, y: str, steps: Sequence[int] | None = None) -> None:
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel(x, labelpad=2)
    axes.set_ylabel(y, labelpad=2)
    axes.margins(x=0.05, y=0.15)
    if steps:
        axes.set_xticks([s for s in (1, 2, 3, 5, 10, max(steps)) if s in steps])


def _shared_legend(drawing: MatplotlibFigure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=len(labels), columnspacing=1.4)
