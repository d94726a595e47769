"""Draw every table and figure of GenPercept that a preset's records allow: no model, no data."""

from __future__ import annotations

from pathlib import Path

from ddp_repro.papers.genpercept import pretraining
from ddp_repro.papers.genpercept.results.claims import claims_table
from ddp_repro.papers.genpercept.results.figure import pretraining_figure
from ddp_repro.papers.genpercept.results.table import pretraining_table
from ddp_repro.papers.genpercept.tables import beside
from ddp_repro.store.paths import resolve
from ddp_repro.workbook.figures.style import save_figure
from ddp_repro.workbook.runs.records import find_records
from ddp_repro.workbook.tables.rendering import save_table


def render(preset: str, output: str | Path = "results") -> list[Path]:
    """Write all tables and figures; returns their paths.

    Raises:
        RecordError: a record or analysis is damaged.
        OSError: the results cannot be written.
    """
    paths, folder = beside.render(preset, output), resolve(output) / preset
    if any(record.recipe["table"] == pretraining.TABLE for record in find_records(preset, output)):
        for table in (pretraining_table(preset, output), claims_table(preset, output)):
            paths += save_table(table, folder / "tables")
        paths += save_figure(pretraining_figure(preset, output), folder / "figures")
    return paths
