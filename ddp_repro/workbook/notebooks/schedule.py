"""Run jobs side by side, each in a process of its own that shares the cores and ends with its parent."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from typing import TypeVar

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


def side_by_side(
    waiting: list[JobT], run: Callable[[JobT], ResultT], count: int, related: Callable[[JobT, JobT], bool]
) -> Iterator[tuple[JobT, Future[ResultT]]]:
    """Run ``count`` jobs at once; yields each with its finished future, as they finish.

    A process that is killed takes only its own job with it (``BrokenProcessPool``).

    Args:
        run: A function of a module, called in a new process.
        related: Whether two jobs would wait for each other's work; such are run one after the other while there is
            anything else to do.
    """
    waiting, running = list(waiting), {}
    threads = max(1, len(os.sched_getaffinity(0)) // count)
    with ThreadPoolExecutor(count) as pool:
        while waiting or running:
            while waiting and len(running) < count:
                job = next_job(waiting, list(running.values()), related)
                waiting.remove(job)
                running[pool.submit(_in_own_process, run, job, threads)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future


def next_job(waiting: list[JobT], running: list[JobT], related: Callable[[JobT, JobT], bool]) -> JobT:
    """The first waiting job that is unrelated to all that run, else the first."""
    free = (job for job in waiting if not any(related(job, other) for other in running))
    return next(free, waiting[0])


def _in_own_process(run: Callable[[JobT], ResultT], job: JobT, threads: int) -> ResultT:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_start, initargs=(threads,)) as pool:
        return pool.submit(run, job).result()


def _start(threads: int) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # inherited by what the job starts
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """A runner that is killed must not leave processes behind that go on writing."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
