"""The findings' figure: mIoU and mBIoU over the visited steps, and over cost, of every arm and sampler."""

from __future__ import annotations

from typing import Any

import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ddp_repro.papers.ddps.recipes import ARMS, LABELS, Arm
from ddp_repro.papers.ddps.results.measured import Measured, Training
from ddp_repro.papers.ddps.results.tables import SAMPLER_LABELS
from ddp_repro.workbook.figures.style import BLACK, BLUE, GREEN, GREY, TEXT_WIDTH, VERMILION, Figure, paper_style
from ddp_repro.workbook.tables.table import measured_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: dict[Arm, str] = {"single": GREY, "longer": BLACK, "truth": VERMILION, "multi": BLUE}
LINES = {"free": "-", "strict": (0, (5, 2)), "strict_released": (0, (1, 1.5))}
MEASURES = {"miou": "mIoU (%)", "mbiou": "mBIoU (%)"}
BASE = GREEN


def figure_findings(preset: str, output: str | Path = "results") -> Figure:
    """Draw what the arms reach after each visited step, and what mIoU costs in MACs.

    Raises:
        ConfigError: the preset has no arms.
    """
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    measured = Measured.of(preset, output)
    with paper_style():
        drawing, axes = plt.subplots(1, 3, figsize=(TEXT_WIDTH, 3.1), layout="constrained")
        for panel, (measure, label) in zip(axes, MEASURES.items(), strict=False):
            _draw_steps(panel, measured, measure)
            panel.set(xlabel="network step", ylabel=label)
        _draw_costs(axes[2], measured)
        arms = [Line2D([], [], color=COLOURS[arm], label=LABELS[arm]) for arm in ARMS]
        lines = [Line2D([], [], color=GREY, linestyle=LINES[name], label=text) for name, text in SAMPLER_LABELS.items()]
        base = [Line2D([], [], color=BASE, label="frozen segmentor")]
        drawing.legend(handles=[*base, *arms, *lines], loc="outside lower center", ncols=3, columnspacing=1.2)
        plt.close(drawing)
    seeds = sorted({training.seed for arm in ARMS for training in measured.trainings(arm)})
    spread = "; bands are ± 1 standard deviation over them" if len(seeds) > 1 else ""
    caption = (
        f"Scores after each visited step of one run, means over {len(seeds)} training{'s' if len(seeds) > 1 else ''} an "
        f"arm{spread}. Dots: one step. Right: mIoU over multiply-accumulates (segmentor once, prior per step), free "
        f"re-noising. {measured_title(preset, measured.dataset, measured.records).capitalize()}."
    )
    sources = tuple(training.run for arm in ARMS for training in measured.trainings(arm))
    return Figure("ddps_findings", "DDPS: arms, samplers and steps", caption, sources, drawing)


def _draw_steps(axes: Axes, measured: Measured, measure: str) -> None:
    bases = [base for training in measured.trainings("single") if (base := training.base(measure)) is not None]
    if bases:
        axes.axhline(statistics.fmean(bases), color=BASE, linewidth=1)
    for arm in ARMS:
        trainings = measured.trainings(arm)
        for sampler in _samplers(trainings):
            steps, values = trainings[0].steps(sampler), _curves(trainings, measure, sampler)
            style: dict[str, Any] = {"marker": "o"} if len(steps) == 1 else {"linestyle": LINES[sampler]}
            axes.plot(steps, values.mean(0), color=COLOURS[arm], **style)
            if len(values) > 1 and sampler == "free":
                low, high = values.mean(0) - values.std(0, ddof=1), values.mean(0) + values.std(0, ddof=1)
                axes.fill_between(steps, low, high, color=COLOURS[arm], alpha=0.15, linewidth=0)


def _draw_costs(axes: Axes, measured: Measured) -> None:
    trainings = measured.trainings("single")
    bases = [base for training in trainings if (base := training.base("miou")) is not None]
    if bases:
        axes.plot(trainings[0].macs(0) / 1e9, statistics.fmean(bases), "o", color=BASE)
    for arm in ARMS:
        trainings = measured.trainings(arm)
        if trainings:
            values = _curves(trainings, "miou", "free").mean(0)
            costs = [trainings[0].macs(calls) / 1e9 for calls in range(1, len(values) + 1)]
            axes.plot(costs, values, color=COLOURS[arm], marker="o", markersize=3)
    axes.set(xlabel="MACs of an image (G)", ylabel="mIoU (%)")


def _samplers(trainings: list[Training]) -> list[str]:
    found = {curve["sampler"] for training in trainings for curve in training.result["curves"]}
    return [sampler for sampler in LINES if sampler in found]


def _curves(trainings: list[Training], measure: str, sampler: str) -> np.ndarray:
    """(trainings, steps); undefined scores are gaps."""
    return np.array([training.curve(measure, sampler) for training in trainings], dtype=np.float64)
