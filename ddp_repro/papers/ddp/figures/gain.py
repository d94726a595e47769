"""What more steps add, and where it comes from: a panel for every scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddp_repro.papers.ddp.diagnostics.gain import Gain
from ddp_repro.papers.ddp.tables.gain import Gained, Gains, measured_gains
from ddp_repro.workbook.figures.style import BLACK, BLUE, GREY, ORANGE, TEXT_WIDTH, VERMILION, Figure, paper_style
from ddp_repro.workbook.tables.measures import measures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS: dict[Gain, dict[str, Any]] = {
    "total": {"label": "all: so many steps − one", "color": BLACK, "marker": "o", "linewidth": 1.8},
    "look": {"label": "another look at the image", "color": ORANGE, "marker": "s", "linestyle": (0, (5, 1.5))},
    "map": {"label": "its map", "color": BLUE, "marker": "^", "linestyle": (0, (1.5, 1.2))},
    "average": {"label": "averaging, on top", "color": VERMILION, "marker": "D", "linestyle": (0, (6, 1.5, 1.5, 1.5))},
}


def gain_figure(preset: str, output: str | Path = "results") -> Figure:
    """Draw the gains of all models of a preset over the number of steps, one panel a model.

    Raises:
        ConfigError: nothing was measured under the preset.
        RecordError: an analysis is damaged.
        ValueError: their measures differ.
    """
    return _figure(measured_gains(preset, output))


def _figure(found: Sequence[Gains]) -> Figure:
    import matplotlib.pyplot as plt

    if len({gains.measure for gains in found}) != 1:
        raise ValueError("the panels of this figure share their axis: one measure")
    measure = measures()[found[0].measure]
    with paper_style():
        drawing, grid = plt.subplots(
            1, len(found), figsize=(TEXT_WIDTH, 2.3), sharey=True, squeeze=False, layout="constrained"
        )
        for axes, gains, letter in zip(grid[0], found, "abcdefgh", strict=False):
            _draw(axes, gains)
            axes.set_title(f"({letter}) scale {gains.scale:g}", loc="left", fontweight="bold")
            axes.set_xlabel("sampling steps")
            count = len(gains.analyses)
            axes.set_title(f"{count} training" + "s" * (count > 1), loc="right", fontsize=6, color=GREY)
        grid[0, 0].set_ylabel(f"gain in {measure.label}")
        drawing.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(LOOKS))
        plt.close(drawing)
    trainings = sorted({len(gains.analyses) for gains in found})
    first = found[0].analyses[0]
    caption = (
        f"{first.preset}, {first.images} images, {' to '.join(map(str, dict.fromkeys((trainings[0], trainings[-1]))))} "
        "trainings a panel. Another look: the last step on an empty map, against one step. Its map: the last step on "
        "the sampler's map, against the empty one. The two add up to all. Bars are 95 % intervals: over trainings, or "
        "of a single one over its images, which says nothing of other trainings."
    )
    runs = tuple(analysis.run for gains in found for analysis in gains.analyses)
    return Figure(
        "ddp_what_diffusion_adds", "What diffusion adds, and what a second look would", caption, runs, drawing
    )


def _draw(axes: Axes, gains: Gains) -> None:
    axes.axhline(0, color=GREY, linewidth=0.8)
    steps = list(gains.gains)
    for number, (kind, look) in enumerate(LOOKS.items()):
        rows = [gains.gains[count][kind] for count in steps]
        ends = [[_reach(row, side) for row in rows] for side in ("low", "high")]
        places = [position + 0.08 * (number - 1.5) for position in range(len(steps))]
        axes.errorbar(places, [row.value for row in rows], yerr=ends, capsize=1.5, elinewidth=0.8, **look)
    axes.set_xticks(range(len(steps)), [str(count) for count in steps])
    axes.set_xlim(-0.5, len(steps) - 0.5)
    axes.grid(axis="x", visible=False)


def _reach(gain: Gained, side: str) -> float:
    """Return how far an end of the interval is from the value; none where the end is unknown."""
    end = getattr(gain, side)
    return 0.0 if end is None else abs(gain.value - end)
