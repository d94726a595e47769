"""The numbers of a part that are worth a line each, read off its records or off what it printed."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from ddp_repro.gpu.part import Numbers
from ddp_repro.papers.ddp.costs.records import BenchRecord, find_benches
from ddp_repro.papers.genpercept.costs.records import find_full_size
from ddp_repro.workbook.runs.records import Record, RecordError, find_records

COUNT = re.compile(r"(\d+) (passed|failed|skipped|error|deselected)")


def of_tests(folder: Path, printed: str) -> Numbers:
    """Return pytest's counts, and the names of tests that failed.

    Raises:
        RecordError: no test passed: then nothing was tried.
    """
    lines = printed.splitlines()
    counts = {what: count for count, what in COUNT.findall(lines[-1] if lines else "")}
    if int(counts.get("passed", 0)) == 0:
        raise RecordError("no test passed")
    failed = [line.split(" ", 2)[1] for line in lines if line.startswith("FAILED ")]
    return counts | ({"which failed": ", ".join(failed)} if failed else {})


def of_bench(recipe: str, backends: Sequence[str], gpu: str | None) -> Callable[[Path, str], Numbers]:
    """Return a reader of the benchmark's records with some backends of the attention, on one device."""

    def read(folder: Path, printed: str) -> Numbers:
        records = [
            record for record in find_benches(folder) if (record.recipe, record.environment.gpu) == (recipe, gpu)
        ]
        numbers = {}
        for backend in backends:
            mine = [record for record in records if record.setting.backend == backend]
            if not mine:
                raise RecordError(f"no record of {recipe} with the attention {backend} was written")
            for record in sorted(mine, key=lambda record: (record.setting.dtype, record.setting.batch)):
                name = f"{backend}, {record.setting.dtype}, batch {record.setting.batch}"
                numbers[name] = _describe_bench(record)
        return numbers

    return read


def _describe_bench(record: BenchRecord) -> str:
    """Return times of a batch from image to labels, and of one more step, with their ratios."""
    found, words = record.measurement, []

    def beside_published(name: str) -> str:
        theirs = f"{name}, published"
        return f", {found.ratio([theirs], [name]):.2f} × faster than published" if found.has(theirs) else ""

    for steps in record.setting.steps:
        name = f"{steps} steps"
        words.append(f"{name} {1000 * found[name].median:.1f} ms{beside_published(name)}")
    words.append(f"one more step {1000 * found['step'].median:.2f} ms{beside_published('step')}")
    share, floor = found.ratio(["step"], ["encoder"]), found.ratio(["step"], ["step floor"])
    return "; ".join([*words, f"which is {floor:.2f} × its floor and {share:.0%} of the encoder"])


def of_full_size(recipe: str, gpu: str | None) -> Callable[[Path, str], Numbers]:
    """Return a reader of GenPercept's records at one device."""

    def read(folder: Path, printed: str) -> Numbers:
        records = [r for r in find_full_size(folder) if (r.recipe, r.environment.gpu) == (recipe, gpu)]
        if not records:
            raise RecordError(f"no record of {recipe} was written")
        return {
            f"{r.setting.dtype}, {r.setting.size[0]}×{r.setting.size[1]}": f"{1000 * r.measurement.total:.1f} ms, "
            f"{r.measurement.total / r.measurement.floor:.2f} × its floor; peak memory: "
            + ", ".join(f"{name} {size / 2**30:.2f} GiB" for name, size in r.measurement.peak_bytes.items())
            for r in records
        }

    return read


def of_trainings(preset: str, runs: tuple[str, ...]) -> Callable[[Path, str], Numbers]:
    """Return a reader of scores by run."""

    def read(folder: Path, printed: str) -> Numbers:
        records = {record.run: record for record in find_records(preset, folder)}
        if missing := [run for run in runs if run not in records]:
            raise RecordError(f"no record of {missing[0]} was written")
        return {run: _describe_scores(records[run]) for run in runs}

    return read


def _describe_scores(record: Record) -> str:
    metric = record.metrics[0]
    means = {steps: statistics.fmean(record.values(steps, metric)) for steps in record.steps}
    scores = ", ".join(f"{mean:.2f} with {steps} step{'s' * (steps > 1)}" for steps, mean in means.items())
    trained = record.training
    times = f"trained in {trained.wall_seconds:.0f} s ({trained.iterations} iterations), " if trained else ""
    return f"{metric} {scores}; {times}scored in {record.wall_seconds:.0f} s"
