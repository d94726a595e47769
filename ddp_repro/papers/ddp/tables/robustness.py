"""Figure 7 and the table of failed sensors from what the runs left: shared by the notebooks and by re-rendering."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ddp_repro.evaluation.measure import mean_text, or_nan
from ddp_repro.papers.ddp.figures.figure7 import figure_bev
from ddp_repro.papers.ddp.samples.bev import FILE, load_bev_samples
from ddp_repro.settings.errors import ConfigError
from ddp_repro.store.paths import run_folder
from ddp_repro.workbook.figures.style import Figure
from ddp_repro.workbook.runs.analyses import Analysis
from ddp_repro.workbook.runs.records import find_records
from ddp_repro.workbook.tables.rendering import NOT_RUN, Table
from ddp_repro.workbook.tables.table import table_frame

MODELS = {
    "mini": ("nuscenes_mini_camera", "nuscenes_mini_fusion"),
    "paper": ("nuscenes_camera", "nuscenes_fusion"),
}
"""What Figure 7 shows, by preset."""


def bev_figure(names: Sequence[str], preset: str, output: str | Path = "results") -> Figure:
    """Figure 7 of the recipes ``names``.

    Raises:
        FileNotFoundError: one of them was not run.
        ConfigError: they were evaluated on different samples.
        RecordError: a record or its samples are damaged.
    """
    found = {record.run: record for record in find_records(preset, output)}
    if missing := [name for name in names if name not in found]:
        raise FileNotFoundError(f"{run_folder(output, preset, missing[0])} holds no record; run {missing[0]} first")
    samples = [load_bev_samples(run_folder(output, preset, name) / FILE) for name in names]
    if len({tuple(sample.token for sample in each) for each in samples}) > 1:
        raise ConfigError(f"{', '.join(names)} were evaluated on different samples; Figure 7 compares the same ones")
    return figure_bev([found[name] for name in names], samples)


def robustness_table(analyses: Sequence[Analysis]) -> Table:
    """mIoU (best thresholds) with whole and with failed sensors, one column a run."""
    failures = list(dict.fromkeys(row["failure"] for each in analyses for row in each.result["scores"]))
    columns = {("", "Sensors"): failures}
    for each in analyses:
        source = f"{each.run} ({each.preset}, {each.images} samples)"
        columns["mIoU (%) ↑", source] = [_cell(each, failure, "miou") for failure in failures]
        columns["mIoU at 0.5 (%) ↑", source] = [_cell(each, failure, "miou_at_half") for failure in failures]
    settings = analyses[0].settings
    notes = (
        f"{settings['steps']} sampling steps, seeds {', '.join(map(str, settings['seeds']))}. The models were trained "
        "with all sensors, and nothing tells them that one has failed.",
    )
    origin = [
        {"Run": a.run, "Preset": a.preset, "Samples": str(a.images), "Checkpoint": a.checkpoint[:12],
         "Code": a.code.commit[:9] + (" + changes" if a.code.dirty else ""),
         "Device": a.environment.gpu or a.environment.cpu}
        for a in analyses
    ]  # fmt: skip
    frame = pd.DataFrame(origin, dtype=object)
    return Table("ddp_table3_robustness", "BEV segmentation with failed sensors", table_frame(columns), frame, notes)


def _cell(analysis: Analysis, failure: str, metric: str) -> str:
    values = [or_nan(row[metric]) for row in analysis.result["scores"] if row["failure"] == failure]
    return mean_text(values, 1) if values else NOT_RUN
