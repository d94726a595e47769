"""The training log: one JSON object a line, never two for one iteration."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any


class TrainingLog:
    """Averages values over iterations and appends them to ``path``.

    ``pending`` (sums since the last line) is part of the resumable state, so that a resumed run writes the lines that
    an uninterrupted one would.
    """

    def __init__(self, path: Path, *, iteration: int = 0, pending: dict[str, float] | None = None) -> None:
        """Continue the log at ``iteration``: lines of later iterations, and a half-written last one, are dropped."""
        self.path = path
        self.pending = dict(pending or {})
        lines = [json.dumps(record) for record in read_log(path) if record["iteration"] <= iteration]
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        os.replace(temporary, path)

    def add(self, values: dict[str, float]) -> None:
        """Take one iteration's values into the averages."""
        for name, value in {"count": 1, **values}.items():
            self.pending[name] = self.pending.get(name, 0) + value

    def take_averages(self) -> dict[str, float]:
        """Return the averages since this was last called."""
        count = self.pending.pop("count")
        averages = {name: total / count for name, total in self.pending.items()}
        self.pending = {}
        return averages

    def write(self, **record: Any) -> None:
        """Append one line. Values that JSON cannot express (a skipped step's infinite gradient) become null."""
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite) + "\n")
            file.flush()

    def sync(self) -> None:
        """Make sure that the log on disk is at least as long as the state that is saved next."""
        with self.path.open("a") as file:
            os.fsync(file.fileno())


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the records of a log file; an unfinished last line is left out, a missing file is an empty log.

    Raises:
        ValueError: a line other than the last is damaged.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    lines.pop()  # what follows the last newline: nothing, or a line that a killed run did not finish
    try:
        records = [json.loads(line) for line in lines]
        complete = all(isinstance(record["iteration"], int) for record in records)
    except (ValueError, TypeError, KeyError):
        complete = False
    if not complete:
        raise ValueError(f"{path}: damaged training log, expected one JSON object a line; move it away to continue")
    return records
