"""GenPercept's tables: every printed row, then the rows that this workbook measured, each under its preset.

A printed number and a measured one never share a cell: a measured one stands under its own source, which names preset,
dataset and number of images.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ddp_repro.evaluation.measure import UNDEFINED, number_text
from ddp_repro.papers.genpercept import recipes
from ddp_repro.papers.genpercept.tables.mean_label import WORDS, mean_label_of, same_kind
from ddp_repro.papers.genpercept.tables.notes import notes as recipe_notes
from ddp_repro.papers.genpercept.tables.notes import table_notes
from ddp_repro.papers.genpercept.tables.printed import PrintedRow, PrintedTable, load_table
from ddp_repro.papers.genpercept.tables.ranks import Recomputed, table1_ranks, table11_savings, table14_means
from ddp_repro.settings.training_seeds import split_seed
from ddp_repro.store.paths import resolve
from ddp_repro.workbook.runs.constant import ConstantScore
from ddp_repro.workbook.runs.records import Record, find_records, spread
from ddp_repro.workbook.tables.measures import measures
from ddp_repro.workbook.tables.printed import PaperColumn
from ddp_repro.workbook.tables.rendering import NOT_RUN, NOTHING, PAPER, Table, save_table
from ddp_repro.workbook.tables.table import provenance_frame, table_frame

PREFIX = "genpercept_table"
NUMBERED = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14)  # tables that a run of ours can stand in

Cells = dict[tuple[str, str], list[str]]


@dataclass(frozen=True)
class _Measured:
    """A row of ours: a recipe at a number of steps, and its record where there is one.

    Attributes:
        mean: the row is of the mean label instead, on the data of ``record``.
        several: other data has a mean label too.
    """

    name: str
    steps: int
    record: Record | None
    mean: ConstantScore | None = None
    several: bool = False

    @property
    def label(self) -> str:
        """Return what the row is called."""
        if self.mean:
            return f"{WORDS} ({self.name})" if self.several else WORDS
        return f"{self.name}, {self.steps} step{'s' * (self.steps > 1)}"


def beside_table(number: int, preset: str, output: str | Path = "results") -> Table:
    """Return a table as printed, with the rows that records of a preset measured below.

    Raises:
        ConfigError: no such table or preset.
        RecordError: a record is damaged.
    """
    printed = load_table(f"table{number}")
    rows = _measured_rows(number, preset, output)
    means = _mean_rows(rows, output)
    beaten = _not_better(rows, means)
    rows += means
    columns = _identifying(printed, rows)
    for column in printed.columns:
        columns[_heading(column), PAPER] = [_printed_cell(row, column) for row in printed.rows] + [NOTHING] * len(rows)
    columns |= _measured_columns(len(printed.rows), rows, preset)
    used = [row.record for row in rows if row.record is not None]
    unique = list({record.run: record for record in used}.values())
    notes = (*printed.notes, *table_notes(number), *_notes(unique, preset), *beaten)
    title = f"GenPercept, Table {number}. {printed.caption}"
    return Table(f"{PREFIX}{number}", title, table_frame(columns), provenance_frame(unique), notes)


def recomputed_table(results: list[Recomputed], name: str, title: str) -> Table:
    """Return printed numbers beside what the other printed numbers give."""
    columns: Cells = {
        ("", "Where"): [result.where for result in results],
        ("printed", PAPER): [f"{result.printed:g}" for result in results],
        ("recomputed", "from the printed numbers"): [f"{result.value:.4g}" for result in results],
        ("verdict", "within rounding"): ["equal" if result.reproduces else "differs" for result in results],
    }
    differing = sum(not result.reproduces for result in results)
    notes = (f"{len(results) - differing} of {len(results)} reproduce from the printed numbers within rounding.",)
    return Table(f"genpercept_{name}", title, table_frame(columns), provenance_frame([]), notes)


def ranks_table() -> Table:
    """Return the ranks of Table 1, printed and recomputed."""
    title = "GenPercept, Table 1: mean ranks within each block, printed and recomputed"
    return recomputed_table(table1_ranks(), "ranks", title)


def savings_table() -> Table:
    """Return the savings of Table 11, printed and recomputed."""
    title = "GenPercept, Table 11: savings of time, stated and recomputed"
    return recomputed_table(table11_savings(), "savings", title)


def means_table() -> Table:
    """Return the overall values of Table 14, printed and recomputed: those that differ, or one line if none does."""
    title = "GenPercept, Table 14: overall values as means of DIS-TE1 to TE4"
    return recomputed_table(table14_means(), "means", title)


def render(preset: str, output: str | Path = "results") -> list[Path]:
    """Write all tables that records of a preset have rows in; returns their paths."""
    folder, paths = resolve(output) / preset / "tables", []
    run = {split_seed(record.run)[0] for record in find_records(preset, output)}
    for number in NUMBERED:
        if run & {recipe.name for recipe in recipes.rows_of(number, preset)}:
            paths += save_table(beside_table(number, preset, output), folder)
    return paths


TABLES: Mapping[str, Callable[..., Table]] = {
    f"{PREFIX}{number}": functools.partial(beside_table, number) for number in range(1, 15)
}


def _measured_rows(number: int, preset: str, output: str | Path) -> list[_Measured]:
    found = {record.run: record for record in find_records(preset, output)}
    rows = []
    for recipe in recipes.rows_of(number, preset):
        seeded = [name for name in found if name != recipe.name and split_seed(name)[0] == recipe.name]
        for name in (recipe.name, *seeded):
            record = found.get(name)
            rows += [_Measured(name, steps, record) for steps in (record or recipe.evaluation).steps]
    return rows


def _identifying(printed: PrintedTable, rows: list[_Measured]) -> Cells:
    columns: Cells = {}
    for key, heading in printed.headers.items():
        own = [row.label if key == "method" else NOTHING for row in rows]
        columns["", heading] = [_setting(row, key) for row in printed.rows] + own
    return columns


def _setting(row: PrintedRow, key: str) -> str:
    value = row.method if key == "method" else row.settings.get(key)
    if value is None:
        return NOTHING
    return "(" + ", ".join(f"{each:g}" for each in value) + ")" if isinstance(value, list) else str(value)


def _measured_columns(above: int, rows: list[_Measured], preset: str) -> Cells:
    """Return the measures of our rows, each set of images under a source of its own."""
    columns: Cells = {}
    for index, row in enumerate(rows):
        if row.record is None:
            columns.setdefault(("measured", preset), [NOTHING] * (above + len(rows)))[above + index] = NOT_RUN
            continue
        data = row.record.dataset
        source = f"measured ({preset}: {data.name} {data.split}, {data.images} images)"
        for metric in row.record.metrics:
            cells = columns.setdefault((measures()[metric].heading, source), [NOTHING] * (above + len(rows)))
            cells[above + index] = _measured_cell(row, row.record, metric)
    return columns


def _measured_cell(row: _Measured, record: Record, metric: str) -> str:
    decimals = measures()[metric].decimals
    if row.mean is not None:
        return number_text(getattr(row.mean.score, metric), decimals)
    values = record.values(row.steps, metric)
    if not values:
        return NOT_RUN
    mean, deviation = spread(values)
    if mean is None:
        return UNDEFINED
    return f"{mean:.{decimals}f}" + ("" if deviation is None else f" ± {deviation:.{decimals}f}")


def _mean_rows(rows: list[_Measured], output: str | Path) -> list[_Measured]:
    """Return a row of the mean label for every kind of task and data that has one."""
    records = list({row.record.run: row.record for row in rows if row.record is not None}.values())
    means: list[_Measured] = []
    for record in records:
        mean = mean_label_of(record, records, output)
        if mean is not None and mean not in [row.mean for row in means]:
            means.append(_Measured(record.run, 0, record, mean))
    return [dataclasses.replace(mean, several=len(means) > 1) for mean in means]


def _not_better(rows: list[_Measured], means: list[_Measured]) -> list[str]:
    """Return a line for every row whose first measure is no better than the mean label's."""
    lines = []
    for row in rows:
        if row.record is None:
            continue
        metric = row.record.metrics[0]
        measure = measures()[metric]
        bar = next((getattr(m.mean.score, metric) for m in means if m.mean and m.record
                    and same_kind(row.record, m.record)), None)  # fmt: skip
        value = spread(row.record.values(row.steps, metric))[0]
        if bar is None or value is None or (value > bar if measure.direction == "higher" else value < bar):
            continue
        lines.append(
            f"{row.label} shows nothing learnt: {measure.label} {value:.{measure.decimals}f} is no better than "
            f"the mean label's {bar:.{measure.decimals}f}."
        )
    return lines


def _printed_cell(row: PrintedRow, column: PaperColumn) -> str:
    value = row.values.get(column.key)
    return NOTHING if value is None else f"{value:.{column.decimals}f}"


def _heading(column: PaperColumn) -> str:
    unit = f" ({column.unit})" if column.unit else ""
    return f"{column.label}{unit}" + {"higher": " ↑", "lower": " ↓", None: ""}[column.direction]


def _notes(used: list[Record], preset: str) -> tuple[str, ...]:
    notes = list(recipe_notes([record.settings() for record in used]))
    if used and preset != "paper":
        notes.append(f"The {preset} preset shows that the code path works, and trends; it claims no printed number.")
    return tuple(notes)
