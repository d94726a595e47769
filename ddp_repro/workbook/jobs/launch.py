"""What every machine of a cluster's job does: start the commands, under torchrun where processes share them.

An instance is what submitit pickles and calls.  Before a preemption or the end of the time asked for, submitit calls
:meth:`Launch.checkpoint`: what runs is asked to save its state, and the same call is submitted again; it goes on from
there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import TYPE_CHECKING

from ddp_repro.settings.launchers import without_announcements
from ddp_repro.workbook.jobs.job import Job

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

SAVING = 60.0  # seconds that a state may take to be saved; Slurm announces the end 90 s before
REQUEUE = 600.0  # seconds in which a job that was told to end is ended, or begun anew, by the cluster
FIRST_PORT, PORTS = 10_000, 50_000


@dataclass
class Launch:
    """The commands of a job on ``nodes`` machines, with ``processes`` on each where they are shared."""

    job: Job
    folder: str
    nodes: int = 1
    processes: int = 1
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _told_to_end: bool = field(default=False, init=False, repr=False)

    def __call__(self) -> None:
        """Run the commands; those that one process does alone, on the first machine.

        Raises:
            RuntimeError: a command failed.
        """
        import submitit

        place = submitit.JobEnvironment()
        before = signal.signal(signal.SIGTERM, self._forward)
        try:
            for number, words in enumerate(self.job.commands if self.job.shared or place.node == 0 else ()):
                code = self._run(self.arguments(words, number, place.node, place.hostnames, place.job_id))
                if code and place.node == 0:  # which knows of the others' failures, and tells the cluster alone
                    raise RuntimeError(f"ddp-repro {' '.join(words)} ended with exit code {code}")
        finally:
            self._end()
            signal.signal(signal.SIGTERM, before)

    def checkpoint(self) -> DelayedSubmission:
        """Have the state saved, and return the same call."""
        from submitit.helpers import DelayedSubmission

        self._end()
        return DelayedSubmission(replace(self))

    def arguments(self, words: Sequence[str], number: int, node: int, hosts: Sequence[str], job: str) -> list[str]:
        """Return the command line of one command on one machine.

        Args:
            number: of the command in the job: each has a port of its own.
            node: which of the machines this is.
            hosts: all of them; the processes meet on the first.
            job: the cluster's number of the job, from which the port follows on all machines alike.
        """
        program = ["-m", "ddp_repro", *words]
        if not self.job.shared or self.nodes * self.processes == 1:
            return [sys.executable, *program]
        port = FIRST_PORT + (int(job.partition("_")[0]) + number) % PORTS
        meeting = (
            ["--standalone"] if self.nodes == 1
            else [f"--node-rank={node}", f"--master-addr={hosts[0]}", f"--master-port={port}"]
        )  # fmt: skip
        torchrun = ["-m", "torch.distributed.run", f"--nnodes={self.nodes}", f"--nproc-per-node={self.processes}"]
        return [sys.executable, *torchrun, *meeting, *program]

    def _run(self, arguments: list[str]) -> int:
        """Run a program and return its exit code."""
        self._child = subprocess.Popen(
            arguments, cwd=self.folder, env=without_announcements(os.environ), preexec_fn=_ignore_preemption
        )
        if self._told_to_end:  # while it was being started, when there was nobody to hand it on to
            os.kill(self._child.pid, signal.SIGTERM)
        code = self._child.wait()
        self._child = None
        if code and self._told_to_end:  # no failure: the cluster ends this process too, or begins the job anew
            time.sleep(REQUEUE)
        return code

    def _forward(self, number: int, frame: FrameType | None) -> None:
        """Hand SIGTERM on: clusters send it before they end a job, to this process alone or to all."""
        self._told_to_end = True
        if self._child is not None:
            os.kill(self._child.pid, signal.SIGTERM)

    def _end(self) -> None:
        """End what runs, also from within a signal's handler, which may have interrupted a wait for it.

        Such a wait holds the lock of :class:`subprocess.Popen`, so that its methods would wait for each other.
        """
        child, self._child = self._child, None
        if child is None or _has_ended(child.pid):
            return
        os.kill(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + SAVING
        while not _has_ended(child.pid):
            if time.monotonic() > deadline:
                os.kill(child.pid, signal.SIGKILL)
            time.sleep(0.05)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:  # somebody has asked already
        return True


def _ignore_preemption() -> None:
    """Have a command, and all that it starts, ignore submitit's signal, which some clusters send to every process."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
