"""Jobs on a Slurm cluster, through submitit.

Jobs on this machine have a runner of their own (:mod:`ddp_repro.workbook.notebooks.schedule`): submitit's local
executor starts all jobs at once, ends them one second after an interruption, which is too early for kernels that save
their trainings, and not at all when its parent ends; what they print goes to files alone; and it is an extra.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ddp_repro.settings.durations import parse_duration
from ddp_repro.settings.errors import ConfigError
from ddp_repro.workbook.jobs.job import Job
from ddp_repro.workbook.jobs.launch import Launch

TIME = 240  # minutes, unless others are asked for; what takes longer goes on in another turn
TURNS = 100  # how often a job that ran out of time goes on
POLL = 1.0  # seconds
FAILURE = re.compile(r"^(?:ddp-repro: error|FAILED [^:]+): (.+)$", re.MULTILINE)  # what commands say of one
NUMBERS = ("nodes", "gpus", "cpus_per_task")
WORDS = ("account", "constraint", "exclude", "gres", "mem", "nodelist", "partition", "qos")


@dataclass(frozen=True)
class Slurm:
    """What is asked of the cluster for every job.

    Attributes:
        nodes: machines.
        gpus: on each of them, with a process for each; 0: none is asked for, and one process computes on the CPU.
        minutes: after which a job is ended; it goes on in another turn.
        options: further options of sbatch, in submitit's spelling.
    """

    nodes: int = 1
    gpus: int = 0
    minutes: int = TIME
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def processes(self) -> int:
        """On each machine."""
        return max(1, self.gpus)

    def alone(self) -> Slurm:
        """Return what a job needs that one process does."""
        return replace(self, nodes=1, gpus=min(1, self.gpus))


def parse_slurm(words: Sequence[str]) -> Slurm:
    """Return what ``KEY=VALUE`` words ask for, e.g. ``nodes=4 gpus=8 time=12h partition=gpu``.

    Raises:
        ConfigError: a key that there is not, or a value that it cannot have.
    """
    known: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        name = key.replace("-", "_")
        if not equals or not value or name not in ("time", *NUMBERS, *WORDS):
            keys = ", ".join(sorted(("time", *NUMBERS, *WORDS))).replace("_", "-")
            raise ConfigError(f"--slurm {word}: expected KEY=VALUE with one of the keys {keys}")
        if name in NUMBERS and (not value.isdecimal() or int(value) < (name != "gpus")):
            raise ConfigError(f"--slurm {word}: expected a number of at least {int(name != 'gpus')}")
        known[name] = int(value) if name in NUMBERS else value
    minutes = max(1, round(parse_duration(known.pop("time")) / 60)) if "time" in known else TIME
    return Slurm(known.pop("nodes", 1), known.pop("gpus", 0), minutes, tuple(sorted(known.items())))


def check_cluster() -> None:
    """Refuse a machine that cannot submit jobs.

    Raises:
        ConfigError: submitit or Slurm's commands are not here.
    """
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise ConfigError("--executor slurm needs submitit: uv sync --extra cluster") from error
    missing = [command for command in ("sbatch", "srun", "scancel") if shutil.which(command) is None]
    if missing:
        raise ConfigError(
            f"--executor slurm needs {', '.join(missing)} on PATH: run it where jobs are submitted, "
            "or with --executor local"
        )


def run_on_slurm(jobs: Sequence[Job], slurm: Slurm, folder: Path) -> Iterator[tuple[Job, str | None]]:
    """Submit jobs and wait for them; yields each as it ends, with what went wrong (None: nothing).

    All are submitted at once, but for those that would only wait for another's work.  Whatever ends this (an
    interruption, an error) cancels them; a cluster that ends one begins it anew, and it goes on from its state.

    Args:
        folder: for logs: ``<folder>/<name of the job>``; all machines must see it.

    Raises:
        ConfigError: the cluster refuses a job.
    """
    waiting, running = list(jobs), []
    try:
        while waiting or running:
            for job in list(waiting):
                if not any(job.waits_for(other.job) for other in running):
                    waiting.remove(job)
                    running.append(_Submitted(job, slurm if job.shared else slurm.alone(), folder / job.name))
            ended = [submitted for submitted in running if submitted.has_ended()]
            for submitted in ended:
                running.remove(submitted)
                yield submitted.job, submitted.problem()
            if running and not ended:
                time.sleep(POLL)
    finally:
        for submitted in running:
            submitted.cancel()


class _Submitted:
    """A job in the cluster's queue."""

    def __init__(self, job: Job, slurm: Slurm, folder: Path) -> None:
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        self.job, self.state = job, ""
        executor = submitit.SlurmExecutor(folder, max_num_timeout=TURNS)
        gpus = {"gpus_per_node": slurm.gpus} if slurm.gpus else {}
        executor.update_parameters(
            job_name=job.name, time=slurm.minutes, nodes=slurm.nodes, ntasks_per_node=1, **gpus, **dict(slurm.options)
        )
        try:
            self.handle = executor.submit(Launch(job, os.getcwd(), slurm.nodes, slurm.processes))
        except (FailedJobError, FailedSubmissionError) as error:
            raise ConfigError(f"the cluster refuses {job.name}: {_last_line(str(error))}") from error
        tqdm.write(f"{job.name}: job {self.handle.job_id}; log: {self.first.paths.stderr}", file=sys.stderr)

    @property
    def first(self) -> Any:
        """The part of the job on the first machine, which tells how it ended."""
        return self.handle.task(0)

    def has_ended(self) -> bool:
        """Return whether the job is over, and say it where the state has changed."""
        if self.first.done():
            return True
        if (state := self.handle.state) != self.state:
            self.state = state
            tqdm.write(f"{self.job.name}: job {self.handle.job_id} is {state}", file=sys.stderr)
        return False

    def problem(self) -> str | None:
        """Return what went wrong in a job that has ended, or None."""
        failed = self.first.exception() is not None
        missing = [path for path in self.job.files if not path.exists()]
        if not failed and not missing:
            return None
        paths = self.first.paths
        said = [_last_error(path) for path in (paths.stdout, paths.stderr)]
        reason = next(filter(None, said), None) or (f"{missing[0]} is missing" if missing else self.handle.state)
        return f"{reason} (job {self.handle.job_id}; log: {paths.stderr})"

    def cancel(self) -> None:
        """Take the job from the queue, or end it."""
        self.handle.cancel(check=False)


def _last_error(log: Path) -> str | None:
    """Return the last line of a log in which a command says what failed."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    errors = FAILURE.findall(text.replace("\r", "\n"))
    return errors[-1] if errors else None


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason given")
