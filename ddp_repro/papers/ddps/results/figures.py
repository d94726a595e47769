"""Figures of discrete diffusion (exact, no model needed) and of one image's refinement."""

from __future__ import annotations

from ddp_repro.data.transforms import size_of

from typing import Any

from pathlib import Path

import numpy as np
import torch

from ddp_repro.diffusion.discrete import (
    LABEL_SCHEDULES,
    label_schedule,
    log_posterior,
    log_posterior_released,
    noise_labels,
    transition_matrix,
)
from ddp_repro.papers.ddps.recipes import main_model
from ddp_repro.papers.ddps.results.samples import FILE, Refinement, load_refinement
from ddp_repro.store.paths import run_folder
from ddp_repro.workbook.figures.panels import IGNORE, class_legend, colour_bar, colours, enlarged, row_label, show
from ddp_repro.workbook.figures.style import BLUE, ORANGE, SEQUENTIAL, TEXT_WIDTH, VERMILION, Figure, paper_style

LEVELS = 4  # noise levels that masks are shown at
EXACT = "exact, no model"


def figure_transitions(timesteps: int = 20, num_classes: int = 7) -> Figure:
    """Draw abar of both schedules, and the one-step and cumulative transitions Q_t and Q̄_t at four levels."""
    import matplotlib.pyplot as plt

    schedule, shown = label_schedule("linear", timesteps), _levels(timesteps)
    with paper_style():
        drawing = plt.figure(figsize=(TEXT_WIDTH, 2.6), layout="constrained")
        left, right = drawing.subfigures(1, 2, width_ratios=(1, 1.9), squeeze=False)[0]
        axes = left.subplots()
        for name, colour in zip(LABEL_SCHEDULES, (BLUE, ORANGE), strict=True):
            kept = label_schedule(name, timesteps).cumulative[:-1]
            axes.plot(range(timesteps), kept, color=colour, marker=".", label=name)
        axes.set(xlabel="noise level t", ylabel="class kept, abar")
        axes.legend()
        panels = right.subplots(2, len(shown))
        for column, level in enumerate(shown):
            for row, kept in enumerate((schedule.one_step, schedule.cumulative)):
                matrix = transition_matrix(kept[level], num_classes).numpy()
                image = show(panels[row, column], matrix, f"t = {level}" if row == 0 else "", cmap=SEQUENTIAL, vmin=0, vmax=1)
        row_label(panels[0, 0], "Q, one step")
        row_label(panels[1, 0], "Q̄, from clean")
        colour_bar(drawing, panels[1, -1], image, "probability")
        plt.close(drawing)
    caption = (
        f"Left: how likely a pixel keeps its class, T = {timesteps}. Right: transitions of one step and from the clean "
        f"map, linear schedule, K = {num_classes}; rows are the class before, columns after."
    )
    return Figure("ddps_transitions", "Discrete diffusion of classes", caption, (EXACT,), drawing)


def figure_posteriors(timesteps: int = 20, num_classes: int = 7, level: int = 9) -> Figure:
    """Draw q(x_{t-1} | x_t, x_0) by Bayes' rule beside what the released code takes for it."""
    import matplotlib.pyplot as plt

    classes = np.arange(num_classes)
    with paper_style():
        drawing, axes = plt.subplots(1, 2, figsize=(TEXT_WIDTH, 2.1), layout="constrained", sharey=True)
        for panel, (noisy, clean) in zip(axes, ((2, 2), (2, 4)), strict=True):
            exact, released = posteriors(noisy, clean, level, timesteps, num_classes)
            panel.bar(classes - 0.2, exact, 0.4, color=BLUE, label="Bayes' rule")
            panel.bar(classes + 0.2, released, 0.4, color=VERMILION, label="released code")
            panel.set(xlabel="class of $x_{t-1}$", title=f"$x_t$ = {noisy}, $x_0$ = {clean}")
            panel.set_xticks(classes)
        axes[0].set_ylabel("probability")
        axes[1].legend()
        plt.close(drawing)
    exact, released = posteriors(2, 4, level, timesteps, num_classes)
    caption = (
        f"T = {timesteps}, K = {num_classes}, t = {level}, linear schedule. Where the noisy class differs from the clean "
        f"one, the clean class gets {exact[4]:.3f} by Bayes' rule and {released[4]:.3f} in the released code, from which "
        "the evidence of x_0 cancels."
    )
    return Figure("ddps_posteriors", "The exact posterior and the released one", caption, (EXACT,), drawing)


def posteriors(
    noisy: int, clean: int, level: int, timesteps: int = 20, num_classes: int = 7
) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact and the released posterior (K,) of one pixel, both normalised."""
    schedule = label_schedule("linear", timesteps)
    at, start = (torch.tensor([[[value]]]) for value in (noisy, clean))
    t = torch.tensor([level])
    exact = log_posterior(at, start, t, t - 1, schedule, num_classes)
    released = log_posterior_released(at, start, t, schedule, num_classes)
    return exact[0, :, 0, 0].exp().numpy(), released[0, :, 0, 0].softmax(0).numpy()


def refinement(preset: str, output: str | Path = "results") -> tuple[Refinement, str]:
    """Return the saved refinement of the preset's main model, and the name of its run.

    Raises:
        FileNotFoundError: the run is not finished.
    """
    run = str(main_model(preset))
    return load_refinement(run_folder(output, preset, run) / FILE), run


def figure_noised(saved: Refinement, run: str) -> Figure:
    """Draw what training noises at four levels: the ground truth, and the first prediction (finding 2)."""
    import matplotlib.pyplot as plt

    size = size_of(saved.predictions[0])
    first = torch.from_numpy(saved.predictions[0].astype(np.int64))
    truth = torch.from_numpy(enlarged(saved.label, size).astype(np.int64))
    shown = _levels(saved.timesteps)
    with paper_style():
        drawing, axes = _grid(2, len(shown) + 1, saved)
        for row, (name, clean) in enumerate((("ground truth", truth), ("first prediction", first))):
            show(axes[row, 0], _painted(saved, clean.numpy()), "clean" if row == 0 else "")
            row_label(axes[row, 0], name)
            for column, level in enumerate(shown, start=1):
                noisy = _noised(clean, level, saved)
                show(axes[row, column], _painted(saved, noisy), f"level {level}" if row == 0 else "")
        class_legend(drawing, saved.label, saved.class_names, saved.palette)
        plt.close(drawing)
    caption = (
        f"A mask under noise at four of T = {saved.timesteps} levels: the ground truth, and what the prior makes of a "
        f"random map, which is what sampling has to noise; image {saved.image_id}. White-grey: unlabelled."
    )
    return Figure("ddps_noised", "What is noised", caption, (run,), drawing)


def figure_refinement(saved: Refinement, run: str) -> Figure:
    """Draw segmentor, refinement, where they differ, and where samples do; below, the maps and what is made of them."""
    import matplotlib.pyplot as plt

    size = size_of(saved.label)
    last, base = (enlarged(labels, size) for labels in (saved.samples[0], saved.base))
    steps = [round(index) for index in np.linspace(0, len(saved.steps) - 1, 6)]
    columns = list(dict.fromkeys(steps))
    changed = (last != base).astype(float)
    top = [
        ("image", saved.image, {}),
        ("ground truth", _painted(saved, saved.label), {}),
        ("segmentor", _painted(saved, base), {}),
        ("refined", _painted(saved, last), {}),
        ("changed", changed, {"cmap": "Greys", "vmin": 0, "vmax": 1}),
        ("samples disagree", enlarged(_disagreement(saved.samples), size), {"cmap": SEQUENTIAL, "vmin": 0, "vmax": 0.75}),
    ]
    with paper_style():
        drawing, axes = _grid(3, len(top), saved)
        for panel, (title, picture, options) in zip(axes[0], top, strict=True):
            show(panel, picture, title, **options)
        for column in range(len(top)):
            for row, maps in enumerate((saved.maps, saved.predictions), start=1):
                if column < len(columns):
                    index = columns[column]
                    title = f"step {saved.steps[index]}" if row == 1 else ""
                    show(axes[row, column], _painted(saved, maps[index]), title)
                else:
                    axes[row, column].set_visible(False)
        row_label(axes[1, 0], "noisy map")
        row_label(axes[2, 0], "prediction")
        class_legend(drawing, np.concatenate([saved.label.ravel(), last.ravel()]), saved.class_names, saved.palette)
        plt.close(drawing)
    valid = saved.label != IGNORE
    caption = (
        f"Image {saved.image_id}: the frozen segmentor's mask and the refined one, which differ on "
        f"{100 * changed[valid].mean():.1f} % of the labelled pixels; {_right(saved, base, last)} Disagreement is over "
        f"{len(saved.samples)} runs from different noise."
    )
    return Figure("ddps_refinement", "From the segmentor's mask to the refined one", caption, (run,), drawing)


def figure_samples(saved: Refinement, run: str) -> Figure:
    """Draw the prior's own samples: from different noise, and one without the image."""
    import matplotlib.pyplot as plt

    panels = [(f"noise {number}", sample) for number, sample in enumerate(saved.samples)]
    panels.append(("condition zeroed", saved.unconditioned))
    with paper_style():
        drawing, axes = _grid(1, len(panels), saved)
        for panel, (title, labels) in zip(axes[0], panels, strict=True):
            show(panel, _painted(saved, labels), title)
        seen = np.concatenate([labels.ravel() for _, labels in panels])
        class_legend(drawing, seen, saved.class_names, saved.palette)
        plt.close(drawing)
    caption = (
        f"Last predictions of runs from different noise on image {saved.image_id}; and of one run whose condition is "
        "zero, as guidance has it, which the prior has not been trained on: what it knows of masks alone."
    )
    return Figure("ddps_samples", "The prior's own samples", caption, (run,), drawing)


def _grid(rows: int, columns: int, saved: Refinement) -> tuple[Any, np.ndarray]:
    import matplotlib.pyplot as plt

    height, width = saved.label.shape
    panel = TEXT_WIDTH / columns
    size = (TEXT_WIDTH, rows * (panel * height / width + 0.12) + 0.5)
    return plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)


def _levels(timesteps: int) -> list[int]:
    """Levels spread from almost clean to random."""
    return sorted({round(level) for level in np.linspace(0.15, 1, LEVELS) * (timesteps - 1)})


def _noised(labels: torch.Tensor, level: int, saved: Refinement) -> np.ndarray:
    """Labels (h, w) under noise; "unlabelled" is a symbol like the others."""
    classes = len(saved.class_names)
    symbols = torch.where(labels == IGNORE, 0, labels + 1)[None]
    schedule = label_schedule(saved.schedule, saved.timesteps)
    uniform = torch.rand(1, classes + 1, *labels.shape, generator=torch.Generator().manual_seed(level))
    noisy = noise_labels(symbols, schedule.cumulative[[level]], uniform)[0]
    return torch.where(noisy == 0, IGNORE, noisy - 1).to(torch.uint8).numpy()


def _painted(saved: Refinement, labels: np.ndarray) -> np.ndarray:
    return enlarged(colours(labels.astype(np.uint8), saved.palette), size_of(saved.label))


def _disagreement(samples: np.ndarray) -> np.ndarray:
    from ddp_repro.diffusion.uncertainty import disagreement

    return disagreement(torch.from_numpy(samples.astype(np.int64))[:, None])[0].numpy()


def _right(saved: Refinement, base: np.ndarray, refined: np.ndarray) -> str:
    """How many pixels of the image each has right."""
    valid = saved.label != IGNORE
    shares = [100 * (labels == saved.label)[valid].mean() for labels in (base, refined)]
    return f"{shares[0]:.1f} % and {shares[1]:.1f} % are right."
