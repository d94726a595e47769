"""The learning curves of both starts, and what the pretrained U-Net draws from noise."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ddp_repro.papers.genpercept import pretraining
from ddp_repro.papers.genpercept.pretraining import Start, Task, name_of
from ddp_repro.papers.genpercept.results.stages import SAMPLES_FILE
from ddp_repro.papers.genpercept.results.table import METRICS, PRESET, STARTS
from ddp_repro.settings.training_seeds import split_seed
from ddp_repro.store.paths import resolve, run_folder
from ddp_repro.workbook.figures.panels import show
from ddp_repro.workbook.figures.style import BLUE, GREEN, TEXT_WIDTH, VERMILION, Figure, paper_style
from ddp_repro.workbook.runs.analyses import load_analysis
from ddp_repro.workbook.tables.measures import measures
from ddp_repro.workbook.tables.rendering import NOT_RUN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "genpercept_pretraining"
COLOURS: dict[Start, str] = {"pretrained": BLUE, "scratch": VERMILION}
LINES = dict(zip(pretraining.LABELS, ((0, (1, 1.5)), (0, (5, 2)), "-"), strict=True))
FLOOR = GREEN


def pretraining_figure(preset: str = PRESET, output: str | Path = "results") -> Figure:
    """Draw each task's first measure over iterations for both starts, the pretraining's loss, and its samples."""
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    runs: list[str] = []
    with paper_style():
        drawing, axes = plt.subplot_mosaic(
            [["depth", "normals", "loss"], ["samples"] * 3], figsize=(TEXT_WIDTH, 3.2), layout="constrained",
            height_ratios=(3, 1),
        )  # fmt: skip
        for task in pretraining.TASKS:
            runs += _draw_task(axes[task], task, preset, output)
        _draw_loss(axes["loss"], preset, output)
        _draw_samples(axes["samples"], preset, output)
        handles = [Line2D([], [], color=COLOURS[start], label=STARTS[start]) for start in pretraining.STARTS]
        handles += [Line2D([], [], color="black", linestyle=style, label=f"{n} labels") for n, style in LINES.items()]
        handles += [Line2D([], [], color=FLOOR, label="floor of the VAE")]
        drawing.legend(handles=handles, loc="outside lower center", ncols=6, columnspacing=1.0)
        plt.close(drawing)
    caption = (
        "Scores on held-out rendered rooms during fine-tuning with the latent loss, thin lines one training each; the "
        "last point is what counts, whichever was best. Right: mean squared error of v during the pretraining. Below: "
        "pictures that the pretrained U-Net draws from noise. Diffusion pretraining at small scale."
    )
    return Figure(NAME, "GenPercept: with and without diffusion pretraining", caption, tuple(runs), drawing)


def _draw_task(axes: Axes, task: Task, preset: str, output: str | Path) -> list[str]:
    metric, drawn = METRICS[task][0], []
    for labels, line in LINES.items():
        for start, colour in COLOURS.items():
            curves = _curves(name_of(task, start, labels), metric, preset, output)
            for points in curves.values():
                axes.plot(*zip(*points, strict=True), color=colour, linestyle=line, linewidth=0.5, alpha=0.5)
            mean: dict[int, list[float]] = defaultdict(list)
            for points in curves.values():
                for iteration, value in points:
                    mean[iteration].append(value)
            if mean:
                axes.plot(list(mean), [np.mean(values) for values in mean.values()], color=colour, linestyle=line)
            drawn += curves
    floor = load_analysis("floor", pretraining.VAE, preset, output)
    if floor:
        axes.axhline(floor.result[task][metric], color=FLOOR, linewidth=1)
    if not drawn:
        axes.text(0.5, 0.75, NOT_RUN, transform=axes.transAxes, ha="center")
        axes.set_xticks([])
    axes.set(xlabel="iteration", ylabel=f"{task}: {measures()[metric].heading}")
    return drawn


def _curves(name: str, metric: str, preset: str, output: str | Path) -> dict[str, list[tuple[int, float]]]:
    """Return the scores during each training of a recipe, by run."""
    curves = {}
    for path in sorted((resolve(output) / preset / "runs").glob(f"{name}*/log.jsonl")):
        if split_seed(path.parent.name)[0] == name and (path.parent / "record.json").is_file():
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            key = f"validation_{metric}"
            curves[path.parent.name] = [(line["iteration"], line[key]) for line in lines if key in line]
    return {run: points for run, points in curves.items() if points}


def _draw_loss(axes: Axes, preset: str, output: str | Path) -> None:
    path = run_folder(output, preset, pretraining.DIFFUSION) / "log.jsonl"
    if path.is_file():
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        points = [(line["iteration"], line["loss"]) for line in lines if "loss" in line]
        axes.plot(*zip(*points, strict=True), color=BLUE, linewidth=0.8)
    axes.set(xlabel="iteration", ylabel="pretraining: error of v", yscale="log")


def _draw_samples(axes: Axes, preset: str, output: str | Path) -> None:
    from PIL import Image

    path = run_folder(output, preset, pretraining.DIFFUSION) / SAMPLES_FILE
    if path.is_file():
        show(axes, np.asarray(Image.open(path)))
    else:
        axes.axis("off")
