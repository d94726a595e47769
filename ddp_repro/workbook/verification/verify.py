"""Evaluate, or train and evaluate, what a record is of, and compare the scores."""

from __future__ import annotations

import dataclasses
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddp_repro.data.io import DataError
from ddp_repro.evaluation.statistics import Estimate
from ddp_repro.settings.durations import describe_duration
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.settings.sources import first_stages
from ddp_repro.settings.training_seeds import split_seed
from ddp_repro.store.paths import run_folder
from ddp_repro.workbook.claims.images import difference_of_images
from ddp_repro.workbook.runs import provenance
from ddp_repro.workbook.runs.records import Record, find_records
from ddp_repro.workbook.runs.run import evaluate, run
from ddp_repro.workbook.runs.weights import half_weights, scored_weights
from ddp_repro.workbook.tables.measures import measures
from ddp_repro.workbook.verification.attempt import Attempt, What, judge, machine, save_attempt

USUAL_STEPS = 3
LAST_DIGITS = 3  # units in the last printed digit: more than rounding makes of the same weights


@dataclass(frozen=True)
class Verified:
    """What became of a record: an attempt, or the reason why there was none."""

    run: str
    attempt: Attempt | None
    reason: str = ""

    @property
    def words(self) -> str:
        """A line for the user."""
        if self.attempt is None:
            return f"{self.run}: cannot be run here, because {self.reason}"
        a, measure = self.attempt, measures()[self.attempt.measure]
        numbers = f"{measure.label} {a.measured:.{measure.decimals}f} against {a.recorded:.{measure.decimals}f}"
        return f"{self.run}: {a.outcome}: {numbers} ({a.what} again, weights {a.weights})"


def verify(
    names: Sequence[str], preset: str, output: str | Path = "results", *, train: bool = False,
    budget: float | None = None, progress: bool = True,
) -> Iterator[Verified]:  # fmt: skip
    """Do again what records say, as far as weights, images and time allow; each attempt is written down.

    Args:
        names: of runs; none: all of the preset.
        train: trains anew, whether or not the weights are here.
        budget: seconds; a training is begun only where it is expected to end within it, the shortest first.

    Raises:
        ConfigError: no such run under the preset.
        RecordError: a record is damaged.
    """
    records = {record.run: record for record in find_records(preset, output)}
    if unknown := [name for name in names if name not in records]:
        raise ConfigError(f"no record {unknown[0]!r} under {preset}; there are: {', '.join(records) or 'none'}")
    chosen = [records[name] for name in names or records]
    began = time.monotonic()
    for record in sorted(chosen, key=lambda each: _expected_seconds(each, records)) if train else chosen:
        left = None if budget is None else budget - (time.monotonic() - began)
        yield _verified(record, records, output, train, left, progress)


def _verified(
    record: Record, records: Mapping[str, Record], output: str | Path, train: bool, left: float | None, progress: bool
) -> Verified:
    if train and (seconds := _expected_seconds(record, records)) > (math.inf if left is None else left):
        expected = describe_duration(seconds)
        return Verified(record.run, None, f"training it takes about {expected}, which is more than is left")
    try:
        settings = record.settings()
        weights, which = (None, "trained anew") if train else _weights_of_record(record, output)
        if weights is None and not train:
            return Verified(record.run, None, "its weights are not here; --train trains them anew")
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as place:
            again = (
                run(settings, output=place, progress=progress)
                if train
                else evaluate(settings, checkpoint=weights, output=place, progress=progress)
            )
            if again.dataset.fingerprint != record.dataset.fingerprint:
                return Verified(record.run, None, "the images here are not those of the record")
            attempt = _compared(record, again, list(records.values()), output, place, which, time.monotonic() - started)
    except (ConfigError, DataError, CheckpointError) as error:
        return Verified(record.run, None, str(error))
    save_attempt(attempt, run_folder(output, record.preset, record.run))
    return Verified(record.run, attempt)


def _compared(
    record: Record, again: Record, records: Sequence[Record], output: str | Path, place: str, which: str, seconds: float
) -> Attempt:
    what: What = "training" if which == "trained anew" else "evaluation"
    metric, steps = record.metrics[0], USUAL_STEPS if USUAL_STEPS in record.steps else record.steps[-1]
    before, now = (statistics.fmean(each.values(steps, metric)) for each in (record, again))
    matters = LAST_DIGITS * 10.0 ** -measures()[metric].decimals
    estimate = Estimate(value=now - before, error=0.0, freedom=1, count=record.dataset.images, unit="images", method="")
    if what == "training" and abs(now - before) > matters:  # else it is the same training, but for rounding
        estimate = _between_trainings(record, records, metric, steps, now - before)
    elif what == "evaluation":
        by_images = difference_of_images((again, place), (record, output), metric, steps) or estimate
        estimate = dataclasses.replace(by_images, value=now - before)  # also where the record is not its companion's
    return Attempt(
        what=what, weights=which, measure=metric, steps=steps, recorded=before, measured=now,
        difference=estimate.interval().to_dict(), matters=matters, outcome=judge(estimate, matters),
        machine=machine(again.environment), code=again.code, environment=again.environment,
        wall_seconds=round(seconds, 1),
    )  # fmt: skip


def _between_trainings(
    record: Record, records: Sequence[Record], metric: str, steps: int, difference: float
) -> Estimate:
    """Estimate a difference between two trainings, of the spread that the recipe's recorded trainings have.

    A training on another machine rounds otherwise from its first step, and is like one of another seed.
    """
    name = split_seed(record.name)[0]
    others = [r for r in records if split_seed(r.name)[0] == name and r.run == r.name and steps in r.steps]
    values = [statistics.fmean(other.values(steps, metric)) for other in others]
    error = math.sqrt(2) * statistics.stdev(values) if len(values) > 1 else math.inf
    return Estimate(
        value=difference, error=error, freedom=max(len(values) - 1, 1), count=len(values), unit="trainings",
        method="spread between recorded trainings",
    )  # fmt: skip


def _weights_of_record(record: Record, output: str | Path) -> tuple[Path | None, str]:
    """Return the weights of a record, or those in half precision that the repository holds, and which they are."""
    path = scored_weights(record, output)
    if path.is_file() and provenance.are_weights(path, record.checkpoint.sha256):
        return path, "as recorded"
    half = half_weights(record, output)
    return (half, "half precision") if half else (None, "")


def _expected_seconds(record: Record, records: Mapping[str, Record]) -> float:
    """Return how long training and evaluating took then, with the stages before, where these have records."""
    settings = record.settings()
    before = [*first_stages(settings.train.initialize_from, settings.train.weights), settings.weights_of]
    trained = record.training.wall_seconds if record.training else 0.0
    stages = [records[name] for name in before if name in records]
    return record.wall_seconds + trained + sum(_expected_seconds(stage, records) for stage in stages)
