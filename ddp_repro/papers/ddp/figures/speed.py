"""Figures of the benchmark, from its records alone: stages beside their floors, growth, accuracy over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ddp_repro.evaluation.measure import spread
from ddp_repro.papers.ddp.costs.bench import STAGES
from ddp_repro.papers.ddp.costs.records import BenchRecord, bench_folder, find_benches, growth
from ddp_repro.workbook.figures.style import (
    BLUE,
    COLUMN_WIDTH,
    GREY,
    ORANGE,
    SKY,
    TEXT_WIDTH,
    Figure,
    paper_style,
    save_figure,
)
from ddp_repro.workbook.runs.records import Record
from ddp_repro.workbook.tables.measures import measures

GROWING = {"encoder": (BLUE, "o"), "neck": (SKY, "s"), "step": (ORANGE, "^")}


def draw_benches(record: BenchRecord, output: str | Path = "results") -> list[Path]:
    """Write the stages of this record, and the growth over all records that differ from it in the image size alone."""
    alike, folder = growth(find_benches(output), record), bench_folder(output) / "figures"
    figures = [figure_stages(record), *([figure_growth(alike)] if len(alike) > 1 else [])]
    return [path for figure in figures for path in save_figure(figure, folder) if path.suffix == ".png"]


def figure_stages(record: BenchRecord) -> Figure:
    """How long each stage takes, and how much of that its matrix products alone take."""
    import matplotlib.pyplot as plt

    found, names = record.measurement, list(STAGES)
    names += ["step, published"] if found.has("step, published") else []
    with paper_style():
        drawing, axes = plt.subplots(figsize=(TEXT_WIDTH, 2.1), layout="constrained")
        for place, name in enumerate(reversed(names)):
            timing = found[name]
            low, high = timing.quartiles
            error = [[timing.median - low], [high - timing.median]]
            axes.barh(place, timing.median, xerr=error, color=SKY, error_kw={"linewidth": 0.8, "ecolor": GREY},
                      label="whole stage" if name == STAGES[0] else None)  # fmt: skip
            if found.has(f"{name} floor"):
                axes.barh(place, found[f"{name} floor"].median, height=0.4, color=BLUE,
                          label="its matrix products alone" if name == STAGES[0] else None)  # fmt: skip
        axes.set_yticks(range(len(names)), reversed(names))
        axes.set_xlabel(f"seconds per {'image' if record.setting.batch == 1 else 'batch'}")
        axes.legend(loc="upper right")
        plt.close(drawing)
    caption = f"Stages of sampling, one step; {record.conditions}; bars to the quartiles."
    return Figure(
        "bench_stages", "What each stage takes, and the least that it could", caption, (record.name,), drawing
    )


def figure_growth(records: Sequence[BenchRecord]) -> Figure:
    """Time and memory over the number of pixels, with a line of linear growth through the smallest.

    A record has the memory of its largest number of steps, on which it does not depend.

    Raises:
        ValueError: fewer than two sizes.
    """
    import matplotlib.pyplot as plt

    pixels = [record.setting.size[0] * record.setting.size[1] for record in records]
    if len(set(pixels)) < 2:
        raise ValueError("growth needs records of at least two image sizes")
    with paper_style():
        drawing, (left, right) = plt.subplots(1, 2, figsize=(TEXT_WIDTH, 2.3), layout="constrained")
        for name, (colour, marker) in GROWING.items():
            seconds = [record.measurement[name].median for record in records]
            left.plot(pixels, seconds, color=colour, marker=marker, label=name)
            left.plot(pixels, [seconds[0] * n / pixels[0] for n in pixels], color=colour, linestyle=":", linewidth=0.8)
        peaks = [record.peak_bytes[f"{max(record.setting.steps)} steps"] / 2**20 for record in records]
        right.plot(pixels, peaks, color=BLUE, marker="o", label="peak of a prediction")
        right.plot(pixels, [peaks[0] * n / pixels[0] for n in pixels], color=BLUE, linestyle=":", linewidth=0.8)
        for axes, label in ((left, "seconds"), (right, "MiB above the idle model")):
            axes.set(xscale="log", yscale="log", xlabel="pixels", ylabel=label)
            axes.legend()
        plt.close(drawing)
    sizes = ", ".join(f"{r.setting.size[0]}×{r.setting.size[1]}" for r in records)
    caption = f"Image sizes {sizes}; dotted: linear in pixels; {records[0].conditions}."
    return Figure("bench_growth", "Growth with the image", caption, tuple(r.name for r in records), drawing)


def figure_accuracy_over_time(record: Record, bench: BenchRecord) -> Figure:
    """Draw the score over the time of an image, one point per number of steps; the paper's trade-off on this machine.

    Raises:
        ValueError: no number of steps was both scored and timed.
    """
    import matplotlib.pyplot as plt

    both = [n for n in record.steps if bench.measurement.has(f"{n} steps")]
    if not both:
        raise ValueError(f"{record.run} was scored with {record.steps} steps and timed with {bench.setting.steps}")
    seconds = [bench.measurement[f"{n} steps"].median / bench.setting.batch for n in both]
    measure = measures()[record.metrics[0]]
    scores = [spread(record.values(n)) for n in both]
    with paper_style():
        drawing, axes = plt.subplots(figsize=(COLUMN_WIDTH, 2.3), layout="constrained")
        deviations = [deviation or 0.0 for _, deviation in scores]
        axes.errorbar(seconds, [mean for mean, _ in scores], yerr=deviations, color=BLUE, marker="o", capsize=2)
        for count, x, (y, _) in zip(both, seconds, scores, strict=True):
            axes.annotate(f"{count}", (x, y), textcoords="offset points", xytext=(4, 4), fontsize=6.5, color=GREY)
        axes.set(xlabel="seconds per image", ylabel=measure.heading)
        axes.margins(y=0.2)
        plt.close(drawing)
    data = f"{record.dataset.name} {record.dataset.split}, {record.dataset.images} images"
    caption = f"{measure.label} ({record.preset}: {data}) over the time of an image; {bench.conditions}."
    sources = (record.run, bench.name)
    return Figure("bench_accuracy", "Accuracy over time, by number of steps", caption, sources, drawing)
