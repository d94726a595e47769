"""The manipulation check as a table: what a model makes of other maps than its own, at every sampling step."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ddp_repro.evaluation.measure import number_text
from ddp_repro.workbook.runs.analyses import Analysis
from ddp_repro.workbook.tables.measures import measures
from ddp_repro.workbook.tables.rendering import NOTHING, Table
from ddp_repro.workbook.tables.table import table_frame

HEADINGS = {
    "true": "true map", "prediction": "its prediction", "other": "another image's", "zero": "zero map",
    "noise": "fresh noise",
}  # fmt: skip
NOTE = (
    "At each step the network is given, in place of the sampler's map, another one at the same noise level, and what "
    "it predicts is scored. The effect is the true map's score minus that of another image's map, with a 95 % interval "
    "over images and sampling seeds: where it is small, the model does not read its map, and nothing that is measured "
    "on it says anything about diffusion."
)


def map_use_table(analyses: Sequence[Analysis], name: str = "map_use") -> Table:
    """Return a row for every step of every checked model.

    Args:
        name: of the table's files.

    Raises:
        ValueError: no analysis is given.
    """
    if not analyses:
        raise ValueError("map_use_table needs at least one analysis")
    rows = [_row(analysis, number) for analysis in analyses for number in range(len(analysis.result["steps"]))]
    columns = {key: [row.get(key, NOTHING) for row in rows] for key in dict.fromkeys(k for row in rows for k in row)}
    provenance = pd.DataFrame([_provenance(analysis) for analysis in analyses], dtype=object)
    return Table(name, "Does the model read its noisy map?", table_frame(columns), provenance, (NOTE,))


def _row(analysis: Analysis, number: int) -> dict[tuple[str, str], str]:
    step, measure = analysis.result["steps"][number], measures()[analysis.result["measure"]]
    effect = step["effect"]
    cells: dict[tuple[str, str], str] = {
        ("", "Run"): analysis.run,
        ("", "Step"): str(number + 1),
        ("", "t"): f"{step['time']:.2f}",
    }
    scores = {kind: number_text(value, measure.decimals) for kind, value in step["scores"].items()}
    cells |= {(measure.heading, HEADINGS.get(kind) or kind): text for kind, text in scores.items()}
    low, high = (_number(effect[side], measure.decimals) for side in ("low", "high"))
    return cells | {
        ("Effect", "true − another's"): f"{number_text(effect['estimate'], measure.decimals)} [{low}, {high}]"
    }


def _number(value: float | None, decimals: int) -> str:
    return NOTHING if value is None else f"{value:.{decimals}f}"


def _provenance(analysis: Analysis) -> dict[str, str]:
    return {
        "Run": analysis.run,
        "Preset": analysis.preset,
        "Images": str(analysis.images),
        "Seeds": ", ".join(map(str, analysis.settings["seeds"])),
        "Checkpoint": analysis.checkpoint[:12],
        "Device": analysis.environment.gpu or analysis.environment.cpu,
    }
