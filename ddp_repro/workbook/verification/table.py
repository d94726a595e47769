"""The table of what was done again: the records of a preset, and whether their scores came out again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ddp_repro.store.paths import resolve, run_folder
from ddp_repro.workbook.runs.records import Record, find_records
from ddp_repro.workbook.tables.measures import measures
from ddp_repro.workbook.tables.rendering import NOTHING, Table, save_table
from ddp_repro.workbook.tables.table import table_frame
from ddp_repro.workbook.verification.attempt import Attempt, What, read_attempts

WORST_FIRST = ("differs", "undecided", "within the spread", "reproduced")
NOTES = (
    "Evaluated again: the same weights (or their half-precision copy in the repository) on the same images; trained "
    "again: from the recipe, then evaluated. The difference is measured minus recorded, the largest of all attempts, "
    "with its 95 % interval: over test images and sampling seeds where weights are the same, by the spread between the "
    "recipe's recorded trainings where they are not.",
    "Reproduced: the interval lies within three units of the last printed digit. Differs: else, it leaves 0 out. "
    "Within the spread: a training that rounds otherwise from its first step, and is no further from the recorded one "
    "than trainings of its recipe are from each other. Undecided: else; fewer than three trainings are recorded.",
    "`ddp-repro verify` does it again on your machine.",
)


def reproduced_table(preset: str, output: str | Path = "results") -> Table:
    """Return a row for every record of a preset that was tried; a note names the others.

    Raises:
        RecordError: a record or an attempt is damaged.
    """
    found = [(record, read_attempts(run_folder(output, preset, record.run))) for record in find_records(preset, output)]
    rows = [(record, attempts) for record, attempts in found if attempts]
    others = [record.run for record, attempts in found if not attempts]
    columns = {
        ("", "Run"): [record.run for record, _ in rows],
        ("", "Score"): [_score(record, attempts) for record, attempts in rows],
        ("Measured − recorded", "evaluated again"): [_largest(attempts, "evaluation") for _, attempts in rows],
        ("Measured − recorded", "trained again"): [_largest(attempts, "training") for _, attempts in rows],
        ("", "Machines"): [str(len({attempt.machine for attempt in attempts})) for _, attempts in rows],
        ("", "Verdict"): [verdict(attempts) for _, attempts in rows],
    }
    notes = (*NOTES, f"Not tried: {len(others)} of {len(found)} records ({', '.join(others)}).") if others else NOTES
    return Table("reproduced", f"Done again: the {preset} preset", table_frame(columns), _provenance(rows), notes)


def save_reproduced(preset: str, output: str | Path = "results") -> list[Path]:
    """Write the table of a preset with a record that was tried; returns its paths.

    Raises:
        RecordError: as :func:`reproduced_table`.
        OSError: the results cannot be written.
    """
    table = reproduced_table(preset, output)
    return save_table(table, resolve(output) / preset / "tables") if len(table.frame) else []


def verdict(attempts: Sequence[Attempt]) -> str:
    """Return one word on all attempts at a run: the worst."""
    outcomes = {attempt.outcome for attempt in attempts}
    return next(word for word in WORST_FIRST if word in outcomes)


def _score(record: Record, attempts: Sequence[Attempt]) -> str:
    measure, last = measures()[attempts[-1].measure], attempts[-1]
    at = f" at {last.steps} step{'s' if last.steps > 1 else ''}" if record.seeds else ""
    return f"{measure.heading}{at}: {last.recorded:.{measure.decimals}f}"


def _largest(attempts: Sequence[Attempt], what: What) -> str:
    chosen = [attempt for attempt in attempts if attempt.what == what]
    if not chosen:
        return NOTHING
    most = max(chosen, key=lambda attempt: abs(attempt.measured - attempt.recorded))
    digits = measures()[most.measure].decimals + 1
    ends = [most.difference[end] for end in ("low", "high")]
    interval = "unknown" if None in ends else f"{ends[0]:+.{digits}f}, {ends[1]:+.{digits}f}"
    return f"{most.difference['estimate']:+.{digits}f} [{interval}]"


def _provenance(rows: Sequence[tuple[Record, Sequence[Attempt]]]) -> pd.DataFrame:
    cells = [
        {"Run": record.run, "What": attempt.what, "Weights": attempt.weights, "Machine": attempt.machine,
         "Code": attempt.code.commit[:9] + (" + changes" if attempt.code.dirty else ""), "Verdict": attempt.outcome}
        for record, attempts in rows
        for attempt in attempts
    ]  # fmt: skip
    return pd.DataFrame(cells, columns=["Run", "What", "Weights", "Machine", "Code", "Verdict"], dtype=object)
