"""How good the uncertainty is: risk over coverage, reliability, and error detection; from the analysis alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from ddp_repro.evaluation.measure import number_text, or_nan
from ddp_repro.workbook.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    TEXT_WIDTH,
    VERMILION,
    Figure,
    paper_style,
)
from ddp_repro.workbook.runs.analyses import Analysis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

SCORE_NAMES = {
    "change_count": "change count (paper)", "entropy": "entropy of the step average",
    "sample_variance": "variance over noise", "disagreement": "disagreement over noise",
    "spread": "spread over steps, noise",
}  # fmt: skip
_LOOKS = {
    "change_count": (VERMILION, "-", "o"), "entropy": (BLUE, (0, (5, 1.5)), "s"),
    "sample_variance": (GREEN, (0, (1.5, 1.2)), "^"), "disagreement": (ORANGE, (0, (6, 1.5, 1.5, 1.5)), "D"),
    "spread": (PURPLE, (0, (3, 1, 1, 1)), "v"),
}  # fmt: skip
# Name and title of the figure, and what is judged, by kind of analysis.
_KINDS = {
    "uncertainty": ("ddp_figure3c_quality", "Figure 3c, measured. Does uncertainty mark the errors?", "pixels"),
    "bev_uncertainty": ("ddp_figure7_quality", "Figure 7, measured. Does uncertainty mark wrong cells?", "cells"),
}
_AVERAGES = {"step_average": ("mean over steps", BLACK, "o"), "last_step": ("last step", PURPLE, "s")}


def figure_uncertainty(analysis: Analysis) -> Figure:
    """Draw three panels of an analysis of segmentation or BEV, with the oracle and chance wherever there is one."""
    import matplotlib.pyplot as plt

    with paper_style():
        drawing, axes = plt.subplots(
            1, 3, figsize=(TEXT_WIDTH, 2.55), width_ratios=(1.15, 1, 1.1), layout="constrained"
        )
        drawing.set_layout_engine("constrained", wspace=0.06)
        _draw_risk(axes[0], analysis)
        _draw_reliability(axes[1], analysis)
        _draw_detection(axes[2], analysis)
        _shared_legend(drawing, axes)
        plt.close(drawing)
    settings, (name, title, parts) = analysis.settings, _KINDS[analysis.kind]
    caption = (
        f"{analysis.run} ({analysis.preset}), {analysis.images} images, {settings['steps']} steps, "
        f"{settings['noise_samples']} noise samples from seed {settings['seed']}. (a) Error rate of the most certain "
        f"{parts}; a perfect score follows the oracle, a useless one stays level. (b) Accuracy over confidence in 15 "
        f"bins, marker area by number of {parts}; ECE is the expected calibration error. (c) How well a score tells "
        f"wrong from right {parts}: over all of them (filled), and mean ± standard deviation over images (hollow)."
    )
    return Figure(name, title, caption, (analysis.run,), drawing)


def _draw_risk(axes: Axes, analysis: Analysis) -> None:
    rate = analysis.result["error_rate"] or 0.0
    for name, found in analysis.result["scores"].items():
        curve, (colour, dash, _) = found["risk_coverage"], _LOOKS[name]
        risk = [100 * value for value in curve["risk"]]
        axes.plot([100 * c for c in curve["coverage"]], risk, color=colour, linestyle=dash, label=SCORE_NAMES[name])
    kept = [step / 200 for step in range(1, 201)]
    oracle = [100 * max(0.0, 1 - (1 - rate) / share) for share in kept]
    axes.plot([100 * share for share in kept], oracle, color=BLACK, linewidth=0.9, linestyle=":", label="oracle")
    axes.axhline(100 * rate, color=GREY, linewidth=0.8, linestyle=(0, (8, 3)), label="chance (error rate of all)")
    parts = _KINDS[analysis.kind][2]
    _finish(axes, "(a) risk–coverage", f"{parts} kept, most certain first (%)", "wrong among them (%)")
    axes.set(xlim=(0, 100), ylim=(0, None))


def _draw_reliability(axes: Axes, analysis: Analysis) -> None:
    axes.plot([0, 100], [0, 100], color=GREY, linewidth=0.8, linestyle=(0, (8, 3)))
    for name, (label, colour, marker) in _AVERAGES.items():
        found = analysis.result["calibration"][name]
        total = sum(found["pixels"]) or 1
        bins = zip(found["confidence"], found["accuracy"], found["pixels"], strict=True)
        filled = [(100 * c, 100 * a, 4 + 120 * n / total) for c, a, n in bins if n]
        x, y, area = zip(*filled, strict=True) if filled else ((), (), ())  # empty where no pixel has a label
        axes.plot(x, y, color=colour, linewidth=0.9)
        axes.scatter(
            x, y, s=area, color=colour, marker=marker, alpha=0.85, linewidth=0, zorder=3,
            label=f"(b) {label}, ECE {number_text(100 * or_nan(found['ece']), 1)} %",
        )  # fmt: skip
    _finish(axes, "(b) reliability", "confidence (%)", "accuracy (%)")
    axes.set(xlim=(0, 102), ylim=(0, 102))


def _draw_detection(axes: Axes, analysis: Analysis) -> None:
    names = list(analysis.result["scores"])
    for position, name in enumerate(names):
        found, (colour, _, marker) = analysis.result["scores"][name], _LOOKS[name]
        images = found["per_image"]["auroc"]
        if images["mean"] is not None:
            axes.errorbar(
                images["mean"], position + 0.17, xerr=images["std"] or 0, fmt=marker, color=colour, markersize=4,
                fillstyle="none", elinewidth=0.9, capsize=2,
            )  # fmt: skip
        value = found["dataset"]["auroc"]
        if value is not None:
            axes.plot(value, position - 0.17, marker=marker, color=colour, markersize=5, linestyle="none")
            axes.annotate(
                f"{value:.3f}", (value, position - 0.17), (5, 0), textcoords="offset points", va="center", size=6.5
            )
    axes.axvline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (8, 3)))
    axes.set_yticks(range(len(names)), [SCORE_NAMES[n].replace(" ", "\n", 1) for n in names], size=6.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0.45, 1.02)
    axes.grid(axis="y", visible=False)
    _finish(axes, "(c) error detection", "AUROC (0.5 = chance)", "")


def _finish(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel(x, labelpad=2)
    axes.set_ylabel(y, labelpad=2)


def _shared_legend(drawing: MatplotlibFigure, axes: Sequence[Axes]) -> None:
    """Below all panels: the curves of (a), then the points of (b), these in one size."""
    entries = [pair for panel in axes[:2] for pair in zip(*panel.get_legend_handles_labels(), strict=True)]
    handles, labels = zip(*entries, strict=True)
    legend = drawing.legend(handles, labels, loc="outside lower center", ncols=4, columnspacing=1.2)
    for handle in legend.legend_handles[-len(_AVERAGES) :]:
        cast(Any, handle).set_sizes([16])
