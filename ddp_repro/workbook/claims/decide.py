"""Train further seeds until the claims are decided, or the time is spent."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ddp_repro.settings.durations import describe_duration
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.workbook import catalogue
from ddp_repro.workbook.claims.claim import Claim
from ddp_repro.workbook.claims.evidence import Evidence
from ddp_repro.workbook.claims.judge import Judged, judge
from ddp_repro.workbook.claims.plan import Step, candidate, next_step, why_not


class Worker(Protocol):
    """Who does the work: trains and scores runs, and checks whether one reads its map."""

    def run(self, names: Sequence[str]) -> None:
        """Train recipes, by name and seed, and score them."""
        ...

    def check(self, name: str) -> None:
        """Measure whether a run reads its map."""
        ...


@dataclass(frozen=True)
class Trainer:
    """The worker that trains for real; what is finished is skipped, and what was interrupted goes on."""

    preset: str
    output: str | Path = "results"

    def run(self, names: Sequence[str]) -> None:
        """Train and score every ``<recipe>-seed<n>``.

        Raises:
            ConfigError, DataError, TrainingInterrupted: as :func:`ddp_repro.workbook.runs.run.run`.
        """
        from ddp_repro.workbook.runs.run import run

        for name in names:
            run(self._recipe(name), output=self.output)

    def check(self, name: str) -> None:
        """Analyse the map use of a scored run.

        Raises:
            ConfigError: its weights are not here and other settings have scored it.
        """
        from ddp_repro.workbook.runs.analyses import Subject
        from ddp_repro.workbook.runs.run import run

        recipe = self._recipe(name)
        record = run(recipe, output=self.output)
        catalogue.paper_of(recipe).analyses["map_use"](Subject(recipe=recipe, record=record, output=self.output))

    def _recipe(self, name: str) -> Recipe:
        return catalogue.recipe(name, self.preset)


def decide(
    questions: Sequence[Sequence[Claim]], keys: Sequence[str], evidence: Callable[[], Evidence], worker: Worker,
    budget: float, say: Callable[[str], None] = print, clock: Callable[[], float] = time.monotonic,
) -> list[Judged]:  # fmt: skip
    """Train what decides most per second, again and again, and return the verdicts on the claims in the end.

    A step is begun only where it is expected to end within the budget; a training that takes longer than expected is
    not cut off.  After an interruption the same call goes on.

    Args:
        keys: the claims' short names.
        evidence: reads all records anew.
        budget: in seconds.

    Raises:
        ConfigError: no such claim.
    """
    check_keys(keys, questions)
    began, expected, spent, done = clock(), 0.0, 0.0, set()
    while True:
        known = evidence()
        judged = judge(questions, known)
        left = budget - (clock() - began)
        pace = spent / expected if expected else 1.0
        step = next_step(questions, judged, keys, known, left, pace) if left > 0 else None
        if step is None or (step.runs, step.check) in done:
            break
        done.add((step.runs, step.check))
        say(_announce(step, left))
        started = clock()
        if step.runs:
            worker.run(step.runs)
        if step.check:
            worker.check(step.check)
        if step.seconds and step.runs:
            expected, spent = expected + step.seconds / pace, spent + clock() - started
    named = [verdict for verdict in judged if verdict.claim.key in keys]
    open_ = {v.claim.key for v in named if not v.is_settled}
    for question in (q for q in questions if q[0].key in open_):
        say(f"{question[0].key}: {_why_open(question, known, left)}")
    return named


def check_keys(keys: Sequence[str], questions: Sequence[Sequence[Claim]]) -> None:
    """Refuse names of claims that there are not.

    Raises:
        ConfigError: names those that there are, close ones first.
    """
    known = [question[0].key for question in questions]
    for key in keys:
        if key not in known:
            names = difflib.get_close_matches(key, known, n=3) or known
            raise ConfigError(f"no claim {key!r} under this preset; did you mean {', '.join(names) or 'none'}?")


def _announce(step: Step, left: float) -> str:
    names = [*step.runs, *([f"map use of {step.check}"] if step.check else [])]
    time_ = "time unknown" if step.seconds is None else f"about {describe_duration(step.seconds)}"
    return f"{', '.join(names)} (for {', '.join(step.keys)}): {time_}; {describe_duration(left)} left"


def _why_open(question: Sequence[Claim], evidence: Evidence, left: float) -> str:
    if candidate(question, evidence) is None:
        reasons = dict.fromkeys(why_not(claim, evidence) or "" for claim in question)
        return f"trainings do not decide it: {'; '.join(reasons)}"
    return "not decided yet: " + ("the time is spent" if left <= 0 else "the next step would take longer than is left")
