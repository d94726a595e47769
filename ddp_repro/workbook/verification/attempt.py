"""One attempt to get a record's score again, and all attempts at a run, in ``verified.json`` beside its record."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ddp_repro.evaluation.measure import json_ready
from ddp_repro.evaluation.statistics import Estimate
from ddp_repro.store.atomic import write_atomically
from ddp_repro.workbook.runs.provenance import Code, Environment
from ddp_repro.workbook.runs.records import read_dataclass

FILE, SCHEMA = "verified.json", 1
Outcome = Literal["reproduced", "within the spread", "differs", "undecided"]
What = Literal["evaluation", "training"]
FEWEST = 3  # trainings, from which the spread between them is known well enough to be leant on


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A score that was measured again.

    Attributes:
        what: "evaluation" of weights that were trained then, or "training" of new ones as well.
        weights: "as recorded", "half precision" (of those in the repository), or "trained anew".
        measure, steps: which score: means over sampling seeds are compared.
        difference: measured minus recorded, with its interval; the ends are null where the spread is unknown.
        matters: the smallest difference that counts, in the measure's unit.
        machine: processor, and what of it was used.
    """

    what: What
    weights: str
    measure: str
    steps: int
    recorded: float
    measured: float
    difference: dict[str, Any]
    matters: float
    outcome: Outcome
    machine: str
    code: Code
    environment: Environment
    wall_seconds: float


def judge(estimate: Estimate, matters: float) -> Outcome:
    """Return whether a difference is none that counts.

    It is *reproduced* where the 95 % interval lies within ± what matters; else it *differs* where the interval leaves 0
    out; else a training is *within the spread* that trainings of its recipe have, if enough of them are known; else
    more would have to be known.
    """
    interval = estimate.interval()
    if -matters < interval.low and interval.high < matters:
        return "reproduced"
    if interval.low > 0 or interval.high < 0:
        return "differs"
    return "within the spread" if estimate.unit == "trainings" and estimate.count >= FEWEST else "undecided"


def machine(environment: Environment) -> str:
    """Return a machine in words: two that round differently have different ones."""
    if environment.gpu:
        return f"{environment.gpu}, {environment.backend}"
    vectors = torch.backends.cpu.get_cpu_capability()
    onednn = os.environ.get("ONEDNN_MAX_CPU_ISA", "all")
    threads = f"{environment.threads} thread{'s' if environment.threads > 1 else ''}"
    return f"{environment.cpu}, {vectors}, oneDNN {onednn}, {environment.backend}, {threads}"


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """The content of ``verified.json``."""

    attempts: list[Attempt]


def read_attempts(folder: Path) -> list[Attempt]:
    """Return all attempts at the run whose record lies in a folder.

    Raises:
        RecordError: the file is damaged, or of another version.
    """
    path = folder / FILE
    return read_dataclass(Attempts, path, SCHEMA).attempts if path.is_file() else []


def save_attempt(attempt: Attempt, folder: Path) -> None:
    """Add an attempt, in place of an earlier one of the same kind on the same machine.

    Raises:
        RecordError: the file that is there is damaged.
        OSError: it cannot be written.
    """
    same = (attempt.what, attempt.weights, attempt.machine)
    kept = [each for each in read_attempts(folder) if (each.what, each.weights, each.machine) != same]
    values = {"schema": SCHEMA} | dataclasses.asdict(Attempts(attempts=[*kept, attempt]))
    text = json.dumps(json_ready(values), indent=1, ensure_ascii=False)
    write_atomically(folder / FILE, (text + "\n").encode())
