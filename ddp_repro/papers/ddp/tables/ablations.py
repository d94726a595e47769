"""Table 5: the paper's ablations beside ours, setting by setting, and the cost of sampling steps; built from records.

Unlike in Tables 1 and 2, a row is a setting, not a model, so that paper and measurement share it; the column says
which model and data the measurement is of.  What is to be compared is the difference to the plain setting.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from ddp_repro.evaluation.measure import mean_text, number_text, or_nan
from ddp_repro.papers.ddp.recipes.segmentation import ablation_base
from ddp_repro.papers.ddp.recipes.variants import ABLATIONS, cells
from ddp_repro.papers.ddp.settings import ModelConfig, picture_settings
from ddp_repro.settings.recipe import Recipe
from ddp_repro.settings.training_seeds import split_seed
from ddp_repro.workbook.runs.analyses import Analysis, load_analysis
from ddp_repro.workbook.runs.records import Record, find_records
from ddp_repro.workbook.tables.printed import PaperRow, PaperTable, load_table
from ddp_repro.workbook.tables.rendering import NOT_RUN, NOTHING, PAPER, Table
from ddp_repro.workbook.tables.table import (
    LIVE,
    evaluation_size,
    measured_title,
    provenance_frame,
    short_number,
    table_frame,
)

STEPS = 3  # of every cell of Table 5a-d
Columns = dict[tuple[str, str], list[str]]


def ablation_table(name: str, preset: str, output: str | Path = "results") -> Table:
    """Part ``ddp_table5a`` to ``ddp_table5d``: mAcc, mIoU and the difference to the plain setting.

    With several training seeds a cell is the mean and the sample standard deviation over trainings; with one, over
    its sampling seeds.

    Raises:
        ConfigError: no such part or preset.
        RecordError: a record is damaged.
    """
    plain, printed = ablation_base(preset), load_table(name)
    found = cells(plain, printed.name)
    records = trainings(find_records(preset, output))
    used = [record for recipe in found.values() for record in records.get(recipe.name, [])]
    title = measured_title(preset, printed.dataset, used)
    rows = _rows(printed, found)
    columns: Columns = {("", next(iter(printed.headers.values()))): [label for label, _, _ in rows]}
    for key in ("macc", "miou"):
        column = printed.column(key)
        assert column is not None  # Tables 5a to 5d print both
        heading = f"{column.label} (%) ↑"
        columns[heading, PAPER] = [_printed(row, key, 1) for _, row, _ in rows]
        columns[heading, title] = [_cell(records, recipe, key) for _, _, recipe in rows]
    columns |= _differences(rows, records, plain, title)
    if printed.column("decoder_parameters"):
        columns |= _decoder_parameters(rows, plain, preset)
    return Table(name, f"{printed.title}. {printed.caption}", table_frame(columns), provenance_frame(used),
                 (*printed.notes, *_notes(plain, used)))  # fmt: skip


def cost_table(preset: str, output: str | Path = "results") -> Table:
    """Table 5e: accuracy, multiply-accumulates and speed over the number of sampling steps.

    Raises:
        ConfigError: no such preset.
        RecordError: a record is damaged.
    """
    plain, printed = ablation_base(preset), load_table("ddp_table5e")
    sweep, speed = (load_analysis(kind, plain.name, preset, output) for kind in ("sweep", "speed"))
    used = [record for record in find_records(preset, output) if record.run == plain.name]
    title = measured_title(preset, printed.dataset, used)
    steps = [cast(int, row.steps) for row in printed.rows]
    ours = [row.method == "DDP" for row in printed.rows]
    columns: Columns = {
        ("", "Method"): [row.method for row in printed.rows],
        ("", "Steps"): [str(s) if own else NOTHING for s, own in zip(steps, ours, strict=True)],
        ("mIoU (%) ↑", PAPER): [_printed(row, "miou", 1) for row in printed.rows],
        ("mIoU (%) ↑", title): [_swept(sweep, s) if own else NOTHING for s, own in zip(steps, ours, strict=True)],
    }
    paper_model, own_model = ablation_base("paper"), plain
    columns["MACs (G)", PAPER] = [_printed(row, "flops", 0) for row in printed.rows]
    columns["MACs (G)", LIVE] = _macs(
        steps, ours, picture_settings(paper_model), cast(tuple[int, int], printed.image_size)
    )
    if preset != "paper":
        own_size = evaluation_size(own_model)
        columns["MACs (G)", f"{LIVE}, {preset} model"] = _macs(steps, ours, picture_settings(own_model), own_size)
    columns["images/s ↑", PAPER] = [_printed(row, "fps", 0) for row in printed.rows]
    columns["images/s ↑", title] = [_speed(speed, s if own else None) for s, own in zip(steps, ours, strict=True)]
    notes = (*printed.notes, *_notes(plain, used)[-1:])
    if speed:
        notes += (f"Measured speed: {speed.result['conditions']}; median and quartiles of the repetitions.",)
    return Table(
        "ddp_table5e", f"{printed.title}. {printed.caption}", table_frame(columns), provenance_frame(used), notes
    )


def trainings(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the records by recipe, those of all its training seeds together."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(split_seed(record.name)[0], []).append(record)
    return found


def means(records: Sequence[Record], metric: str = "miou", steps: int = STEPS) -> list[float]:
    """Return the mean over sampling seeds of each training that has been scored at ``steps``."""
    values = [record.values(steps, metric) for record in records]
    return [statistics.fmean(each) for each in values if each]


def _rows(printed: PaperTable, found: dict[Any, Recipe]) -> list[tuple[str, PaperRow | None, Recipe | None]]:
    """(label, printed row, our recipe) for every value that the paper or we have, in order."""
    field = ABLATIONS[printed.name][0]
    default = {"ddp_table5a": "embedding", "ddp_table5b": 0.01, "ddp_table5c": "cosine", "ddp_table5d": 6}[printed.name]
    rows = {(row.overrides.get(field, default)): row for row in printed.rows}
    values = [*rows, *(value for value in found if value not in rows)]
    ordered = sorted(values) if printed.name == "ddp_table5d" else values
    return [(str(value).replace("_", " "), rows.get(value), found.get(value)) for value in ordered]


def _printed(row: PaperRow | None, key: str, decimals: int) -> str:
    value = row.values.get(key) if row else None
    return NOTHING if value is None else f"{value:.{decimals}f}"


def _cell(records: dict[str, list[Record]], recipe: Recipe | None, metric: str) -> str:
    if recipe is None:
        return NOTHING
    found = records.get(recipe.name, [])
    trained = means(found, metric)
    values = trained if len(trained) > 1 else [v for record in found for v in record.values(STEPS, metric)]
    return mean_and_spread(values, 2)


def mean_and_spread(values: Sequence[float], decimals: int) -> str:
    """``mean ± sample standard deviation``; ``not run`` without values."""
    if not values:
        return NOT_RUN
    return mean_text(values, decimals)


def _differences(rows: list, records: dict[str, list[Record]], plain: Recipe, title: str) -> Columns:
    """mIoU minus the plain setting's: the paper's at its own plain setting, ours at ours."""
    printed = {row.values["miou"] for _, row, _ in rows if row and not row.overrides}
    (reference,) = printed
    own = means(records.get(plain.name, []))
    paper, ours = [], []
    for _, row, recipe in rows:
        paper.append(f"{row.values['miou'] - reference:+.1f}" if row else NOTHING)
        cell = means(records.get(recipe.name, [])) if recipe else []
        missing = NOT_RUN if recipe else NOTHING
        measured = cell and own
        ours.append(number_text(statistics.fmean(cell) - statistics.fmean(own), 2, "+") if measured else missing)
    return {("Δ mIoU", PAPER): paper, ("Δ mIoU", title): ours}


def _decoder_parameters(rows: list, plain: Recipe, preset: str) -> Columns:
    def count(model: ModelConfig, layers: str) -> str:
        from ddp_repro.papers.ddp.costs.complexity import complexity

        # The map decoder does not depend on the encoder; a small one is built faster.
        varied = dataclasses.replace(model, layers=int(layers), backbone="resnet10t", window_size=None)
        return short_number(complexity(varied, (64, 64)).map_decoder_parameters / 1e6)

    paper_model = picture_settings(ablation_base("paper"))
    columns: Columns = {
        ("#Param (M)", PAPER): [_printed(row, "decoder_parameters", 1) for _, row, _ in rows],
        ("#Param (M)", LIVE): [count(paper_model, label) if row else NOTHING for label, row, _ in rows],
    }
    if preset != "paper":
        ours = [count(picture_settings(plain), label) if recipe else NOTHING for label, _, recipe in rows]
        columns["#Param (M)", f"{LIVE}, {preset} model"] = ours
    return columns


def _notes(plain: Recipe, used: Sequence[Record]) -> tuple[str, ...]:
    seeds = {name: len(found) for name, found in trainings(used).items()}
    several = "trainings from different seeds" if any(n > 1 for n in seeds.values()) else "sampling seeds"
    notes = [
        f"Every measured cell is a training of its own that differs from {plain.name} in this one setting "
        f"({STEPS} sampling steps); the plain setting is {plain.name} itself. ± is the sample standard deviation over "
        f"{several}.",
    ]
    if several == "sampling seeds":
        notes.append("One training per cell: the spread from training to training is not in the ±, and is larger.")
    scale, papers = (picture_settings(recipe).scale for recipe in (plain, ablation_base("paper")))
    if scale != papers:
        notes.append(
            f"{plain.name} has the scale {scale:g} in place of the paper's {papers:g}, at which so short a training "
            "does not learn to read its map."
        )
    if plain.preset != "paper":
        notes.append(f"The {plain.preset} preset shows trends; compare differences within the measured column only.")
    return tuple(notes)


def _swept(sweep: Analysis | None, steps: int) -> str:
    scores = sweep.result["scores"] if sweep else []
    own = scores[0]["time_difference"] if scores else None
    found = [or_nan(s["miou"]) for s in scores if s["steps"] == steps and s["time_difference"] == own]
    return mean_and_spread(found, 2)


def _macs(steps: list[int], ours: list[bool], model: ModelConfig, size: tuple[int, int]) -> list[str]:
    from ddp_repro.papers.ddp.costs.complexity import complexity

    counts = {s: complexity(model, size, s).macs / 1e9 for s in steps}
    return [short_number(counts[s]) if own else NOTHING for s, own in zip(steps, ours, strict=True)]


def _speed(speed: Analysis | None, steps: int | None) -> str:
    rows = [row for row in speed.result["speeds"] if row["steps"] == steps] if speed else []
    if not rows:
        return NOT_RUN
    first, third = rows[0]["quartiles"]
    return f"{short_number(rows[0]['images_per_second'])} ({short_number(first)}–{short_number(third)})"


MAKERS: dict[str, Callable[..., Table]] = {
    **{name: lambda preset, output="results", name=name: ablation_table(name, preset, output) for name in ABLATIONS},
    "ddp_table5e": cost_table,
}
