"""Run parts one after another: within a time, each with a limit and a log, and what is finished never again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ddp_repro.gpu.part import Outcome, Part, Status
from ddp_repro.gpu.summary import Summary

SAVING = 20.0  # seconds that a training may take to save its state
TAIL = 15  # lines of a log that are shown of a part that failed


@dataclass
class Runner:
    """Runs parts and writes down what becomes of each.

    Attributes:
        results: folder of the results, which the parts' ``numbers`` are read from.
        place: working directory of the programs.
        budget: seconds, from now on.
    """

    summary: Summary
    results: Path
    place: Path
    environment: Mapping[str, str]
    budget: float
    clock: Callable[[], float] = time.monotonic
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    @property
    def logs(self) -> Path:
        """Where the logs are: hidden, so that git leaves them out."""
        return self.summary.folder / ".logs"

    def run(self, part: Part) -> str:
        """Do a part, unless it is done, cannot be run here or does not fit, and return what became of it in a line."""
        if self.summary.is_done(part):
            return f"{part.name}: done before"
        left = self.budget - (self.clock() - self.began)
        expected = self.summary.expected_seconds(part)
        if reason := part.obstacle():
            outcome = Outcome(status="cannot be run here", numbers={}, note=f"because {reason}")
        elif expected > left:
            note = f"takes about {expected:.0f} s, and {max(left, 0):.0f} s are left"
            outcome = Outcome(status="not begun", numbers={}, note=note)
        else:
            print(f"{part.name}: about {expected:.0f} s; {left:.0f} s are left", flush=True)
            outcome = self._do(part, min(part.limit, left))
        self.summary.keep(part, outcome)
        return f"{part.name}: {outcome.status}{': ' if outcome.note else ''}{outcome.note}"

    def _do(self, part: Part, limit: float) -> Outcome:
        log, started = self.logs / f"{re.sub('[^a-z0-9]+', '-', part.name.lower())}.log", self.clock()
        log.parent.mkdir(parents=True, exist_ok=True)
        code = run_program(part.program, log, limit, self.place, self.environment)
        printed = log.read_text(encoding="utf-8", errors="replace")
        status, note = _judge(code, limit, part)
        try:
            numbers = part.numbers(self.results, printed)
        except Exception as error:  # of a record that is not there, or not as expected: whatever it is, go on
            numbers = {}
            status, note = ("failed", f"its results cannot be read: {error!r}") if status == "done" else (status, note)
        if status == "done":
            for path in (path for pattern in part.leaves_out for path in self.results.glob(pattern)):
                path.unlink()
        if status == "failed":
            note = "\n".join([note, *_tail(printed.replace(f"{self.place}/", ""))])
        return Outcome(
            status=status, seconds=round(self.clock() - started, 1), numbers=numbers, note=note, kind=part.kind,
            identity=part.identity, gpu=self.summary.environment.gpu,
        )  # fmt: skip


def _judge(code: int | None, limit: float, part: Part) -> tuple[Status, str]:
    if code is None and limit < part.limit:
        return "not finished", f"ended after {limit:.0f} s, when the budget was spent"
    if code is None:
        return "over its limit", f"ended after {limit:.0f} s"
    return ("failed", f"exit code {code}; the end of its log:") if code else ("done", "")


def _tail(printed: str) -> list[str]:
    """Return the last lines, of progress bars what they showed last."""
    return [line.rpartition("\r")[2] for line in printed.split("\n")[-TAIL:]]


def run_program(
    program: Sequence[str], log: Path, limit: float, place: Path, environment: Mapping[str, str]
) -> int | None:
    """Run a program with all its output in a file, and return its exit code; None: it was ended at the limit.

    It is asked to end, and so is all that it started; what has not ended after :data:`SAVING` is killed.
    """
    with log.open("wb") as file:
        child = subprocess.Popen(
            list(program), cwd=place, env=dict(environment), stdout=file, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            return child.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a program and what it has left behind."""
    if child.poll() is None:
        _signal(child, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(SAVING)
    _signal(child, signal.SIGKILL)
    child.wait()


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):  # nothing of its session is left
        os.killpg(child.pid, number)
