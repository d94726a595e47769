"""Draw every table and figure of DDPS that a preset's records and analyses allow: no model, no data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ddp_repro.papers.ddps.recipes import SMALL, TABLES, main_model
from ddp_repro.papers.ddps.results import figures
from ddp_repro.papers.ddps.results.figure_findings import figure_findings
from ddp_repro.papers.ddps.results.claims import claims_table
from ddp_repro.papers.ddps.results.measured import Measured
from ddp_repro.papers.ddps.results.samples import FILE
from ddp_repro.papers.ddps.results.tables import arms_table, check_table, checks
from ddp_repro.store.paths import resolve, run_folder
from ddp_repro.workbook.figures.style import Figure, save_figure
from ddp_repro.workbook.runs.records import find_records
from ddp_repro.workbook.tables.rendering import Table, save_table
from ddp_repro.workbook.tables.table import measured_table, paper_table

FIGURES: dict[str, Callable[[str, str | Path], Figure]] = {
    "ddps_transitions": lambda preset, output: figures.figure_transitions(),
    "ddps_posteriors": lambda preset, output: figures.figure_posteriors(),
    "ddps_noised": lambda preset, output: figures.figure_noised(*figures.refinement(preset, output)),
    "ddps_refinement": lambda preset, output: figures.figure_refinement(*figures.refinement(preset, output)),
    "ddps_samples": lambda preset, output: figures.figure_samples(*figures.refinement(preset, output)),
    "ddps_findings": figure_findings,
}


def rerender(preset: str, output: str | Path = "results") -> list[Path]:
    """Write all tables and figures; returns their paths.

    Raises:
        ConfigError: no such preset.
        RecordError: a record, analysis or sample is damaged.
        OSError: the results cannot be written.
    """
    folder, paths = resolve(output) / preset, []
    for table in _tables(preset, output):
        paths += save_table(table, folder / "tables")
    for figure in _figures(preset, output):
        paths += save_figure(figure, folder / "figures")
    return paths


def _tables(preset: str, output: str | Path) -> list[Table]:
    named = {record.table for record in find_records(preset, output)}
    made = [paper_table(name, preset, output) for name in TABLES.values() if name in named]
    made += [measured_table(preset, output, "ddps_runs")] if "ddps_runs" in named else []
    made += [maker(preset, output) for maker in (arms_table, claims_table)] if "ddps_runs" in named else []
    return made + ([check_table(preset, output)] if checks(preset, output) else [])


def _figures(preset: str, output: str | Path) -> list[Figure]:
    run = main_model(preset)
    names = ["ddps_findings"] if _analysed(preset, output) else []
    if run is not None and (run_folder(output, preset, run) / FILE).is_file():
        names += [name for name in FIGURES if name != "ddps_findings"]
    return [FIGURES[name](preset, output) for name in names]


def _analysed(preset: str, output: str | Path) -> bool:
    return preset in SMALL and any(Measured.of(preset, output).by_arm.values())
