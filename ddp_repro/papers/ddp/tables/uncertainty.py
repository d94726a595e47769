"""The measures of every uncertainty score of a label map or a BEV map as a table; the paper prints none of them."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from ddp_repro.evaluation.measure import number_text
from ddp_repro.evaluation.statistics import Estimate
from ddp_repro.papers.ddp.figures.uncertainty import SCORE_NAMES
from ddp_repro.workbook.runs.analyses import Analysis
from ddp_repro.workbook.tables.rendering import NOTHING, Table
from ddp_repro.workbook.tables.table import table_frame

# Name and title of the table, what is judged, and a note, by kind of analysis.
_KINDS = {
    "uncertainty": ("ddp_figure3c_quality", "How well uncertainty finds errors", "pixels", ()),
    "bev_uncertainty": (
        "ddp_figure7_quality", "How well uncertainty finds wrong cells", "cells",
        ("Every class of every cell is judged by itself: is it rightly present, or absent, at probability 0.5?",),
    ),
}  # fmt: skip
MEASURES = {"auroc": "AUROC ↑", "aupr": "AUPR ↑", "aurc": "AURC ↓", "ause": "AUSE ↓", "correlation": "Pearson's r ↑"}


def uncertainty_table(analysis: Analysis) -> Table:
    """One row a score: over all pixels (BEV: cells and classes), and mean ± standard deviation over images."""
    found, (table, title, parts, more) = analysis.result["scores"], _KINDS[analysis.kind]
    pixels = f"all {parts} ({analysis.preset}, {analysis.images} images)"
    columns = {("", "Uncertainty"): [SCORE_NAMES[name] for name in found]}
    for key, label in MEASURES.items():
        columns[label, pixels] = [number_text(found[name]["dataset"][key], 3) for name in found]
        columns[label, "per image"] = [_spread(found[name]["per_image"][key]) for name in found]
    columns["AUROC ↑", "mean over images, 95 % interval"] = [
        _interval(found[name]["per_image"]["auroc"]) for name in found
    ]
    calibration = {name: number_text(each["ece"], 3) for name, each in analysis.result["calibration"].items()}
    settings, rate = analysis.settings, number_text(analysis.result["error_rate"], 3)
    notes = (
        f"{settings['steps']} sampling steps, {settings['noise_samples']} noise samples from seed {settings['seed']}; "
        f"error rate {rate}, which is the AUPR of chance (AUROC of chance: 0.5).",
        f"Expected calibration error (15 bins): {calibration['step_average']} for the mean over steps, "
        f"{calibration['last_step']} for the last step alone.",
        "Undefined values (an image without errors) are left out.",
        *more,
    )
    return Table(table, title, table_frame(columns), _origin(analysis), notes)


def _origin(analysis: Analysis) -> pd.DataFrame:
    environment = analysis.environment
    row = {
        "Run": analysis.run, "Preset": analysis.preset, "Images": str(analysis.images),
        "Seeds": str(analysis.settings["seed"]), "Checkpoint": analysis.checkpoint[:12],
        "Code": analysis.code.commit[:9] + (" + changes" if analysis.code.dirty else ""),
        "Device": environment.gpu or environment.cpu,
    }  # fmt: skip
    return pd.DataFrame([row], dtype=object)


def _spread(values: dict[str, Any]) -> str:
    return number_text(values["mean"], 3) + (f" ± {values['std']:.3f}" if values["std"] is not None else "")


def _interval(values: dict[str, Any]) -> str:
    """Return the t-interval of the mean over images."""
    if values["std"] is None:
        return NOTHING
    estimate = Estimate(
        value=values["mean"], error=values["std"] / math.sqrt(values["images"]), freedom=values["images"] - 1,
        count=values["images"], unit="images", method="t",
    )  # fmt: skip
    interval = estimate.interval()
    return f"{interval.low:.3f} to {interval.high:.3f}"
