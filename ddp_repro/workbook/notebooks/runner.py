"""Run notebooks through papermill so that "done" means done.

Papermill alone returns normally on an unknown parameter, on ``sys.exit`` in a cell and when no result was written.
Here each of these fails; a run counts only when every cell finished and every declared result was written; finished
work is neither repeated (same notebook, parameters, code and data) nor overwritten by a failed or a different run.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from ddp_repro.settings.errors import ConfigError
from ddp_repro.store.locks import file_lock
from ddp_repro.store.paths import resolve
from ddp_repro.workbook.jobs.job import Job
from ddp_repro.workbook.jobs.slurm import Slurm, run_on_slurm
from ddp_repro.workbook.notebooks.execution import NotebookFailure, execute
from ddp_repro.workbook.notebooks.fingerprint import fingerprint
from ddp_repro.workbook.notebooks.notebook import Notebook, find_notebooks
from ddp_repro.workbook.notebooks.schedule import side_by_side


@dataclass(frozen=True, kw_only=True)
class NotebookJob(Job):
    """One notebook with the values it runs with, in the folder ``results/<preset>`` that it writes to."""

    notebook: Notebook
    preset: str
    folder: Path
    parameters: dict[str, Any]
    internal: dict[str, Any]  # parameters that say how to run, not what: no part of the identity
    show_output: bool = False

    @property
    def output(self) -> Path:
        """The executed notebook."""
        return self.folder / "notebooks" / f"{self.notebook.name}.ipynb"

    @property
    def status(self) -> Path:
        """What was run, and how it ended."""
        return self.output.with_suffix(".json")

    def identity(self) -> dict[str, Any]:
        """Return what the result depends on; equal identities mean equal work."""
        return fingerprint(self.notebook, self.preset, self.parameters)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one notebook ended."""

    job: NotebookJob
    state: Literal["done", "skipped", "failed"]
    message: str = ""
    seconds: float = 0.0


def reproduce(
    preset: str,
    names: list[str],
    *,
    notebooks: Path,
    output: str | Path = "results",
    parameters: dict[str, str] | None = None,
    jobs: int = 1,
    slurm: Slurm | None = None,
    overwrite: bool = False,
    everything: bool = False,
) -> list[Outcome]:
    """Run the named notebooks (the preset's usual ones, if none is named); a failed one does not stop the others.

    Args:
        preset: ``mini``, ``camvid`` or ``paper``; handed to every notebook with a ``preset`` parameter.
        names: Notebook names without ``.ipynb``.
        notebooks: Folder of the notebooks.
        output: Root of the results; this run writes to ``<output>/<preset>``.
        parameters: Values as typed (``{"iterations": "20"}``), for the notebooks that declare the parameter.
        jobs: How many notebooks run at once; the cores are divided among them.
        slurm: What a cluster is asked for, where each notebook is a job; None: they run on this machine.
        overwrite: Run finished notebooks again, also with other parameters.
        everything: Without names, also those notebooks that take long and otherwise run only when they are named.

    Returns:
        One outcome per notebook, in the order of the notebooks.

    Raises:
        ConfigError: before anything ran: an unknown notebook, an unknown or mistyped parameter, or a place where a
            run with other parameters is finished.
    """
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1; got {jobs}")
    if slurm and slurm.nodes * slurm.processes > 1:
        raise ConfigError("a notebook runs in one process: several nodes or GPUs are for train and decide")
    found = find_notebooks(notebooks, preset, names, everything)
    values = _parse(found, parameters or {})
    plan = [_job(n, preset, output, values[n.name], overwrite, show_output=jobs == 1) for n in found]
    finished = {job.notebook.name for job in plan if not overwrite and is_finished(job)}
    outcomes = {name: Outcome(job=job, state="skipped") for job in plan if (name := job.notebook.name) in finished}
    waiting = [job for job in plan if job.notebook.name not in finished]
    for outcome in _run_all(waiting, jobs, slurm):
        outcomes[outcome.job.notebook.name] = outcome
    return [outcomes[job.notebook.name] for job in plan]


def is_finished(job: NotebookJob) -> bool:
    """Whether this very work is done and all of its results are there.

    Raises:
        ConfigError: the place holds a finished run with other parameters.
    """
    if not job.status.is_file():
        return False
    try:
        recorded = json.loads(job.status.read_text(encoding="utf-8"))["identity"]
        before = recorded["parameters"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return False  # not something this runner wrote in full: do the work again
    if before != job.parameters:
        raise ConfigError(
            f"{job.output} holds a finished run with {_words(before)}, not with {_words(job.parameters)}; "
            "add --overwrite to replace it, or --output to write elsewhere"
        )
    complete = all((job.folder / result).is_file() for result in job.notebook.results) and job.output.is_file()
    return complete and recorded == job.identity()


def run_job(job: NotebookJob) -> Outcome:
    """Run one notebook; whatever goes wrong inside it becomes a failed outcome."""
    started = time.monotonic()
    try:
        job.output.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(job.output.parent / f".{job.output.stem}.lock", wait=False), _protected(job):
            _run_and_publish(job, started)
    except (NotebookFailure, OSError) as error:
        return Outcome(job=job, state="failed", message=str(error), seconds=time.monotonic() - started)
    return Outcome(job=job, state="done", seconds=time.monotonic() - started)


def _run_and_publish(job: NotebookJob, started: float) -> None:
    partial = job.output.with_name(f".{job.output.stem}.partial.ipynb")
    failed = job.output.with_name(f"{job.output.stem}.failed.ipynb")
    wall_start = time.time_ns()
    try:
        html = execute(job.notebook.path, partial, job.parameters | job.internal, show_output=job.show_output)
        _require_results(job, wall_start)
    except NotebookFailure as error:
        if partial.is_file():
            partial.replace(failed)
            raise NotebookFailure(f"{error} (see {failed})") from None
        raise
    status = {
        "notebook": job.notebook.name,
        "preset": job.preset,
        "identity": job.identity(),  # now, not before: the run may have prepared its data
        "results": list(job.notebook.results),
        "wall_seconds": round(time.monotonic() - started, 1),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    job.status.unlink(missing_ok=True)  # from here until the new status is written, nothing counts as finished
    partial.replace(job.output)
    _write(job.output.with_suffix(".html"), html)
    _write(job.status, json.dumps(status, indent=2) + "\n")
    failed.unlink(missing_ok=True)


def _require_results(job: NotebookJob, wall_start: int) -> None:
    for result in job.notebook.results:
        path = job.folder / result
        if not path.is_file():
            raise NotebookFailure(f"all cells ran, but the result {path} is missing")
        if path.stat().st_mtime_ns < wall_start - 2_000_000_000:  # coarse clocks of some file systems
            raise NotebookFailure(f"all cells ran, but the result {path} is an old one: this run did not write it")


@contextmanager
def _protected(job: NotebookJob) -> Iterator[None]:
    """Put the declared results back as they were if the body fails, or did in an earlier run that was killed."""
    backup = job.output.parent / f".{job.output.stem}.backup"
    if (backup / "complete").is_file():
        _restore(job, backup)
    shutil.rmtree(backup, ignore_errors=True)
    for result in job.notebook.results:
        if (job.folder / result).is_file():
            (backup / result).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(job.folder / result, backup / result)
    backup.mkdir(exist_ok=True)
    (backup / "complete").touch()
    try:
        yield
    except BaseException:
        _restore(job, backup)
        raise
    finally:
        shutil.rmtree(backup)


def _restore(job: NotebookJob, backup: Path) -> None:
    for result in job.notebook.results:
        if (backup / result).is_file():
            (job.folder / result).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(backup / result, job.folder / result)
        else:
            (job.folder / result).unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _parse(notebooks: list[Notebook], typed: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Each notebook's share of the typed parameters; one that no notebook declares is an error."""
    values: dict[str, dict[str, Any]] = {notebook.name: {} for notebook in notebooks}
    for name, text in typed.items():
        if name in ("preset", "output", "overwrite"):
            raise ConfigError(f"parameter {name!r} is set by --{name}")
        takers = [notebook for notebook in notebooks if name in notebook.parameters] or notebooks
        for notebook in takers:
            values[notebook.name][name] = notebook.parameter(name).parse(text)
    return values


def _words(parameters: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in sorted(parameters.items())) or "the default parameters"


def _job(
    notebook: Notebook, preset: str, output: str | Path, values: dict[str, Any], overwrite: bool, show_output: bool
) -> NotebookJob:
    ours = {"preset": preset, "output": str(output), "overwrite": overwrite}
    internal = {name: notebook.parameter(name).check(ours[name]) for name in ours if name in notebook.parameters}
    folder = resolve(output) / preset
    words = ["reproduce", notebook.name, "--preset", preset, "--output", str(output)]
    words += [word for name, value in values.items() for word in ("-p", f"{name}={value!r}")]
    return NotebookJob(
        name=notebook.name, commands=((*words, *(["--overwrite"] if overwrite else [])),),
        files=tuple(folder / result for result in notebook.results),
        # notebooks of one dataset use the same trainings
        needs=None if notebook.datasets is None else frozenset(notebook.datasets),
        notebook=notebook, preset=preset, folder=folder, parameters=values, internal=internal, show_output=show_output,
    )  # fmt: skip


def _run_all(waiting: list[NotebookJob], jobs: int, slurm: Slurm | None) -> Iterator[Outcome]:
    with tqdm(total=len(waiting), desc="notebooks", unit="notebook", disable=not waiting) as bar:
        if slurm:
            outcomes = _run_remotely(waiting, slurm)
        else:
            outcomes = map(run_job, waiting) if jobs == 1 else _run_parallel(waiting, jobs)
        for outcome in outcomes:
            done = f"done in {outcome.seconds:.0f} s" if outcome.state == "done" else f"FAILED: {outcome.message}"
            bar.write(f"{outcome.job.notebook.name}: {done}")
            bar.update()
            yield outcome


def _run_parallel(waiting: list[NotebookJob], jobs: int) -> Iterator[Outcome]:
    for job, future in side_by_side(waiting, run_job, jobs, NotebookJob.waits_for):
        try:
            yield future.result()
        except BrokenProcessPool:
            message = "the runner's own process was killed (out of memory?)"
            yield Outcome(job=job, state="failed", message=message)


def _run_remotely(waiting: list[NotebookJob], slurm: Slurm) -> Iterator[Outcome]:
    started, folder = time.monotonic(), waiting[0].folder / "jobs" if waiting else Path()
    jobs = {job.name: job for job in waiting}
    for submitted, problem in run_on_slurm(waiting, slurm, folder):
        job = jobs[submitted.name]
        if problem is None and not is_finished(job):
            problem = f"the job ended, but {job.output} is not of this run"
        seconds = time.monotonic() - started
        yield Outcome(job=job, state="failed" if problem else "done", message=problem or "", seconds=seconds)
