"""The worker that has a cluster train: every run is a job, and those of one step are there at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddp_repro.settings.errors import ConfigError
from ddp_repro.store.paths import resolve, run_folder
from ddp_repro.workbook import catalogue
from ddp_repro.workbook.jobs.job import Job
from ddp_repro.workbook.jobs.slurm import Slurm, run_on_slurm
from ddp_repro.workbook.jobs.training import scored_training


@dataclass(frozen=True)
class ClusterTrainer:
    """As :class:`ddp_repro.workbook.claims.decide.Trainer`, elsewhere."""

    preset: str
    output: str
    slurm: Slurm

    def run(self, names: Sequence[str]) -> None:
        """Train and score every ``<recipe>-seed<n>``.

        Raises:
            ConfigError: a job failed; those that had begun are cancelled, and go on from their states another time.
        """
        self._wait([scored_training(catalogue.recipe(name, self.preset), self.output) for name in names])

    def check(self, name: str) -> None:
        """Analyse the map use of a scored run.

        Raises:
            ConfigError: the job failed.
        """
        words = ("map-use", name, "--preset", self.preset, "--output", self.output)
        result = run_folder(self.output, self.preset, name) / "map_use.json"
        self._wait([Job(name=f"{name}-map-use", commands=(words,), files=(result,), needs=frozenset())])

    def _wait(self, jobs: Sequence[Job]) -> None:
        folder: Path = resolve(self.output) / self.preset / "jobs"
        for job, problem in run_on_slurm(jobs, self.slurm, folder):
            if problem:
                raise ConfigError(f"{job.name}: {problem}")
