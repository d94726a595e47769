"""Tables: the paper's printed numbers and ours side by side, built from records (no model, no data, no GPU needed).

A measured number is never shown under a printed row's heading alone: its column is titled with preset, data and image
count, and the provenance table beneath says which run, seeds and checkpoint each came from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ddp_repro.evaluation.measure import mean_text, number_text
from ddp_repro.protocols.registry import tasks
from ddp_repro.protocols.task import Task
from ddp_repro.settings.presets import INFO
from ddp_repro.settings.recipe import Recipe
from ddp_repro.workbook.catalogue import full_name, paper_named, paper_of, recipe, recipe_names
from ddp_repro.workbook.runs.constant import ConstantScore, load_constant
from ddp_repro.workbook.runs.records import Record, find_records
from ddp_repro.workbook.tables.counts import Count, count_peer, evaluation_size
from ddp_repro.workbook.tables.measures import measures
from ddp_repro.workbook.tables.printed import PaperColumn, PaperRow, PaperTable, load_table
from ddp_repro.workbook.tables.rendering import NOT_RUN, NOTHING, PAPER, Table

LIVE = "counted live"  # on our model, built on the meta device while the table is made
AGREEMENT = "agreement of our count"
LIVE_MODULES = "counted live, modules"  # the other convention of evaluation.complexity; the paper uses both

DATA_LABELS = {
    "ade20k": "ADE20K validation", "cityscapes": "Cityscapes val", "kitti": "KITTI Eigen test",
    "nyu": "NYU-Depth V2 test", "sunrgbd": "SUN RGB-D test", "nuscenes": "nuScenes val",
}  # fmt: skip


BESIDE_PRINT = {"ddp_table3": ("miou_at_half",)}  # measures that the paper does not print


@dataclass(frozen=True)
class _Row:
    """A line of a table before formatting: a printed row, or a run of ours that no printed row stands for."""

    labels: dict[str, str]
    paper: PaperRow | None
    recipe: Recipe | None  # whose model the live columns count
    steps: int | None
    count: Count | None = None
    constant: ConstantScore | None = None  # what the row measured, where it is no model


def paper_table(name: str, preset: str, output: str | Path = "results") -> Table:
    """Table ``name`` of the paper beside what the records of ``preset`` measured.

    The preset's own recipes for this table (the small ``mini`` models, say) are rows of their own below the printed
    ones: another model's score never enters a printed row.

    Raises:
        ConfigError: no such table or preset.
        RecordError: a record is damaged.
    """
    name = full_name(name)
    printed = load_table(name)
    known = set(recipe_names("paper"))
    own = [recipe(n, preset) for n in recipe_names(preset)]
    records = {r.run: r for r in find_records(preset, output)}
    rows = [_printed_row(row, printed, known) for row in printed.rows]
    beside_print = {row.recipe.name for row in rows if row.recipe}
    for extra in own:
        if extra.table == name and extra.name not in beside_print:
            rows += _own_rows(extra, records.get(extra.name), printed)
    names = [r.name for r in own if r.table == name]
    for task in tasks():
        rows += _constant_rows(task, [load_constant(task, name, preset, output) for name in names], preset, printed)
    used = [records[n] for n in _run_names(rows) if n in records and records[n].preset == preset]
    title = measured_title(preset, printed.dataset, used)
    if printed.image_size:
        rows = [dataclasses.replace(row, count=_count(row, printed)) for row in rows]
    columns = _identifying(rows, printed.headers)
    for column in printed.columns:
        columns |= _quantity(column, rows, records, title, printed.image_size)
    for metric in BESIDE_PRINT.get(name, ()) if used else ():
        measure = measures()[metric]
        unprinted = PaperColumn(metric, measure.label, measure.direction, measure.unit, measure.decimals)
        columns[measure.heading, title] = [_measured_cell(row, unprinted, records) for row in rows]
    notes = (
        *printed.notes,
        *_counting_notes(printed),
        *_remarks(rows),
        *_recipe_notes(rows),
        *_general_notes(used, preset),
    )
    return Table(name, f"{printed.title}. {printed.caption}", table_frame(columns), provenance_frame(used), notes)


def measured_table(preset: str, output: str | Path = "results", table: str | None = None) -> Table:
    """Every run of a preset, or of one ``table`` of it, at every number of steps, without printed numbers."""
    table = full_name(table) if table else None
    records = [r for r in find_records(preset, output) if table in (None, r.table)]
    rows: list[dict[tuple[str, str], str]] = []
    for record in sorted(records, key=lambda r: not r.name.endswith("_baseline")):
        rows += [_measured_row(record, steps) for steps in record.steps]
    cells = {key: [row.get(key, NOT_RUN) for row in rows] for key in dict.fromkeys(k for row in rows for k in row)}
    title = f"Runs of the {preset} preset" + (f", {table}" if table not in (None, full_name(preset)) else "")
    return Table(
        table or f"{preset}_runs", title, table_frame(cells), provenance_frame(records), _general_notes(records, preset)
    )


def provenance_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Where each run's numbers come from, one row a run."""
    return pd.DataFrame([_provenance(record) for record in records], dtype=object)


def table_frame(columns: dict[tuple[str, str], list[str]]) -> pd.DataFrame:
    """Text cells by (quantity, source), as :attr:`Table.frame`."""
    names = pd.MultiIndex.from_arrays([[key[level] for key in columns] for level in (0, 1)])
    return pd.DataFrame(dict(enumerate(columns.values())), dtype=object).set_axis(names, axis="columns")


def _printed_row(row: PaperRow, printed: PaperTable, known: set[str]) -> _Row:
    labels = {key: str(getattr(row, key) if getattr(row, key) is not None else NOTHING) for key in printed.headers}
    ours = recipe(row.recipe, "paper") if row.recipe in known else None
    if ours:
        for field, value in row.overrides.items():
            ours = paper_of(ours).variant(ours, field, value)
    return _Row(labels, row, ours, row.steps or (1 if ours else None))


def _own_rows(own: Recipe, record: Record | None, printed: PaperTable) -> list[_Row]:
    """Return the rows of a recipe that the paper does not print; its steps say ``not run`` until it has a record."""
    rows = []
    for steps in record.steps if record else own.evaluation.steps:
        method = paper_of(own).row_label(own, steps)
        where = "not in the paper" if own.preset == "paper" else own.preset
        varied = own.row.partition(", ")[2]  # what an ablation changes
        label = ", ".join(filter(None, (method, where, varied)))
        labels = dict.fromkeys(printed.headers, NOTHING) | {"method": label}
        labels |= {name: text for name, text in paper_of(own).identifying(own).items() if name in labels}
        rows.append(_Row(labels, None, own, steps))
    return rows


def _constant_rows(task: Task, constants: list[ConstantScore | None], preset: str, printed: PaperTable) -> list[_Row]:
    """One for all models that were trained and scored on the same images."""
    if task.constant is None:
        return []
    labels = dict.fromkeys(printed.headers, NOTHING) | {"method": f"{task.constant.words}, {preset}"}
    different = {repr(each.score): each for each in constants if each}.values()
    return [_Row(labels, None, None, None, constant=each) for each in different]


def _identifying(rows: list[_Row], headers: dict[str, str]) -> dict[tuple[str, str], list[str]]:
    return {("", heading): [row.labels[key] for row in rows] for key, heading in headers.items()}


def _quantity(
    column: PaperColumn, rows: list[_Row], records: dict[str, Record], title: str, size: tuple[int, int] | None
) -> dict[tuple[str, str], list[str]]:
    """Return the paper's column and, where there is one, its counterpart of ours."""
    heading = column.label + (f" ({column.unit})" if column.unit else "")
    heading += {"higher": " ↑", "lower": " ↓", None: ""}[column.direction]
    columns = {(heading, PAPER): [_paper_cell(row.paper, column) for row in rows]}
    if column.key in ("parameters", "decoder_parameters", "flops") and size:
        columns[heading, LIVE] = [_count_cell(row, column.key) for row in rows]
        if column.key == "flops":
            columns[heading, LIVE_MODULES] = [_count_cell(row, "modules") for row in rows]
            columns[heading, AGREEMENT] = [_agreement_cell(row) for row in rows]
    elif column.key in measures() or (column.key == "miou_ms" and _has_multi_scale(rows, records)):
        columns[heading, title] = [_measured_cell(row, column, records) for row in rows]
    return columns


def _paper_cell(row: PaperRow | None, column: PaperColumn) -> str:
    value = row.values.get(column.key) if row else None
    return NOTHING if value is None else f"{value:.{column.decimals}f}"


def _count_cell(row: _Row, key: str) -> str:
    return short_number(row.count.values[key]) if row.count and key in row.count.values else NOTHING


def _agreement_cell(row: _Row) -> str:
    """``equal``, or ``equal, modules`` where that count agrees: the numbers stand in the columns beside."""
    verdict, modules, _ = (row.count.agreement if row.count else NOTHING).partition(": ")
    return f"{verdict}, modules" if modules else verdict


def _count(row: _Row, printed: PaperTable) -> Count | None:
    if row.recipe is None:
        return count_peer(printed.name, row.paper) if row.paper else None
    size = printed.image_size if row.paper else evaluation_size(row.recipe)
    if size is None:
        return None
    flops = row.paper.values.get("flops") if row.paper else None
    return paper_of(row.recipe).count(row.recipe, size, row.steps or 1, flops)


def _remarks(rows: list[_Row]) -> tuple[str, ...]:
    """Why a peer was not counted, or what differs."""
    found = []
    for row in rows:
        if row.count and row.count.remark:
            name = ", ".join(label for label in row.labels.values() if label != NOTHING)
            found.append(f"{name}: {row.count.remark}.")
    return tuple(found)


def _has_multi_scale(rows: list[_Row], records: dict[str, Record]) -> bool:
    """Tell whether there is the column: the paper's recipes always have it, others once a multi-scale test was run."""
    recipes = [row.recipe for row in rows if row.recipe]
    return all(r.preset == "paper" for r in recipes) or any(f"{r.name}-ms" in records for r in recipes)


def _measured_cell(row: _Row, column: PaperColumn, records: dict[str, Record]) -> str:
    if row.constant:
        return number_text(getattr(row.constant.score, column.key), column.decimals)
    if row.recipe is None:
        return NOTHING if row.paper and row.paper.recipe is None else NOT_RUN
    record = records.get(row.recipe.name + ("-ms" if column.key == "miou_ms" else ""))
    values = record.values(row.steps or 1, column.key.removesuffix("_ms")) if record else []
    return _mean_std(values, column.decimals)


def _measured_row(record: Record, steps: int) -> dict[tuple[str, str], str]:
    settings = record.settings()
    title = measured_title(record.preset, record.recipe["data"]["dataset"], [record])
    cells = {
        ("", "Run"): record.run,
        ("", "Method"): paper_of(settings).row_label(settings, None),
        ("", "Steps"): str(steps) if settings.model.diffusion else NOTHING,
    }
    if count := paper_of(settings).count(settings, evaluation_size(settings), steps):
        counted = count.values
        cells["#Param (M)", LIVE] = short_number(counted["parameters"])
        cells["MACs (G)", LIVE] = short_number(counted["flops"])
    for metric in record.metrics:
        cells[measures()[metric].heading, title] = _mean_std(record.values(steps, metric), measures()[metric].decimals)
    return cells


def _mean_std(values: list[float], decimals: int) -> str:
    return mean_text(values, decimals) if values else NOT_RUN


def short_number(value: float) -> str:
    """Three or four digits: the second decimal only below ten."""
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _run_names(rows: list[_Row]) -> list[str]:
    names = dict.fromkeys(row.recipe.name for row in rows if row.recipe)
    return [f"{name}{variant}" for name in names for variant in ("", "-ms")]


def measured_title(preset: str, dataset: str, records: list[Record]) -> str:
    """Return a measured column's heading: preset, data and number of images."""
    label = INFO[preset].label or DATA_LABELS.get(dataset, dataset)
    counts = sorted({record.dataset.images for record in records})
    images = f", {' / '.join(map(str, counts))} images" if counts else ""
    return f"measured ({preset}: {label}{images})"


def _counting_notes(printed: PaperTable) -> tuple[str, ...]:
    if not printed.image_size or not printed.column("flops"):
        return ()
    return (
        "Multiply-accumulates are counted in two ways, as the paper does without saying so: all convolutions, linear "
        "layers and products of activations (its Swin-T and Swin-S rows of Table 1, and Table 5e); or modules only, "
        "with normalisation, without the products inside window attention (Swin-B, Swin-L, and Table 2).",
        "The rows of our own recipes are counted at the size of their evaluation images.",
    )


def _recipe_notes(rows: list[_Row]) -> tuple[str, ...]:
    """How the numbers of the table's recipes come about, by paper."""
    recipes = [row.recipe for row in rows if row.recipe]
    papers = dict.fromkeys(recipe.model.paper for recipe in recipes)
    return tuple(
        note for name in papers for note in paper_named(name).table_notes([r for r in recipes if r.model.paper == name])
    )


def _general_notes(records: list[Record], preset: str) -> tuple[str, ...]:
    notes = []
    if any(len(record.seeds) > 1 for record in records):
        notes.append("± is the sample standard deviation over sampling seeds, of one set of weights.")
    notes += [
        f"{record.run}: {min(counts)} of {record.dataset.images} images have something to measure; means are over them."
        for record in records
        if (counts := [score.measured for score in record.scores if score.measured is not None])
    ]
    if preset != "paper":
        notes.append(f"The {preset} preset shows that the code path works, and trends; it claims no printed number.")
    return tuple(notes)


def _confirmed(record: Record) -> str:
    """Return a note on a record whose code is not the present one, but was found to behave as that."""
    return f" (behaves the same at {record.confirmed.commit[:9]})" if record.confirmed else ""


def _provenance(record: Record) -> dict[str, str]:
    training = record.training
    images = str(record.dataset.images)
    if record.dataset.images != record.dataset.split_images:
        images += f" of {record.dataset.split_images}"
    trained = f"{training.iterations} iterations, {training.wall_seconds / 60:.1f} min" if training else NOTHING
    state = {True: " + changes", False: "", None: ""}[record.code.dirty]
    return {
        "Run": record.run,
        "Preset": record.preset,
        "Data": f"{record.dataset.name} {record.dataset.split}",
        "Images": images,
        "Steps": ", ".join(map(str, record.steps)),
        "Seeds": ", ".join(map(str, record.seeds)) or NOTHING,
        "Checkpoint": f"{record.checkpoint.origin} {record.checkpoint.sha256[:12]}",
        "Training": trained,
        "Code": f"{record.code.commit[:9]}{state}{_confirmed(record)}",
        "Device": record.environment.gpu or record.environment.cpu,
        "Verdict": record.verdict,
    }
