"""The table of what was done again: every record of a preset, and whether its score came out again."""

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

NOT_TRIED = "not tried"
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
    """Return a row for every record of a preset, those that were tried first.

    Raises:
        RecordError: a record or an attempt is damaged.
    """
    found = [(record, read_attempts(run_folder(output, preset, record.run))) for record in find_records(preset, output)]
    found.sort(key=lambda each: not each[1])
    records, tried = [record for record, _ in found], [attempts for _, attempts in found]
    columns = {
        ("", "Run"): [record.run for record in records],
        ("", "Score"): [_score(record, attempts) for record, attempts in zip(records, tried, strict=True)],
        ("Measured − recorded", "evaluated again"): [_largest(attempts, "evaluation") for attempts in tried],
        ("Measured − recorded", "trained again"): [_largest(attempts, "training") for attempts in tried],
        ("", "Machines"): [str(len({a.machine for a in attempts})) if attempts else NOTHING for attempts in tried],
        ("", "Verdict"): [verdict(attempts) for attempts in tried],
    }
    return Table("reproduced", f"Done again: the {preset} preset", table_frame(columns), _provenance(tried, records),
                 NOTES)  # fmt: skip


def save_reproduced(preset: str, output: str | Path = "results") -> list[Path]:
    """Write the table of a preset that has records; returns its paths.

    Raises:
        RecordError: as :func:`reproduced_table`.
        OSError: the results cannot be written.
    """
    table = reproduced_table(preset, output)
    return save_table(table, resolve(output) / preset / "tables") if len(table.frame) else []


def verdict(attempts: Sequence[Attempt]) -> str:
    """Return one word on all attempts at a run: the worst."""
    outcomes = {attempt.outcome for attempt in attempts}
    return next(
        (word for word in ("differs", "undecided", "within the spread", "reproduced") if word in outcomes), NOT_TRIED
    )


def _score(record: Record, attempts: Sequence[Attempt]) -> str:
    if not attempts:
        return NOTHING
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


def _provenance(tried: Sequence[Sequence[Attempt]], records: Sequence[Record]) -> pd.DataFrame:
    rows = [
        {"Run": record.run, "What": attempt.what, "Weights": attempt.weights, "Machine": attempt.machine,
         "Code": attempt.code.commit[:9] + (" + changes" if attempt.code.dirty else ""), "Verdict": attempt.outcome}
        for record, attempts in zip(records, tried, strict=True)
        for attempt in attempts
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["Run", "What", "Weights", "Machine", "Code", "Verdict"], dtype=object)
