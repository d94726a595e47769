"""Run jobs side by side, each in a process of its own that shares the cores and ends with its parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from multiprocessing.synchronize import Event
from typing import TypeVar

from ddp_repro.workbook.notebooks.interruption import PATIENCE, SIGNALS, Interrupted, interruptible

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


def side_by_side(
    waiting: list[JobT], run: Callable[[JobT], ResultT], count: int, related: Callable[[JobT, JobT], bool]
) -> Iterator[tuple[JobT, Future[ResultT]]]:
    """Run ``count`` jobs at once; yields each with its finished future, as they finish.

    A process that is killed takes only its own job with it (``BrokenProcessPool``); an exception here, such as that of
    an interruption, ends them all.

    Args:
        run: A function of a module, called in a new process.
        related: Whether two jobs would wait for each other's work; such are run one after the other while there is
            anything else to do.
    """
    waiting, running = list(waiting), {}
    threads = max(1, len(os.sched_getaffinity(0)) // count)
    stop = _event()
    # A new process inherits which signals are blocked: what ends it is heeded only while it runs its job.
    with ThreadPoolExecutor(count, initializer=signal.pthread_sigmask, initargs=(signal.SIG_BLOCK, SIGNALS)) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < count:
                    job = next_job(waiting, list(running.values()), related)
                    waiting.remove(job)
                    running[pool.submit(_in_own_process, run, job, threads, stop)] = job
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future
        except BaseException:
            stop.set()
            raise


def _event() -> Event:
    """Make an event; the process that multiprocessing starts with the first one outlives SIGHUP, to clean up."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        return multiprocessing.get_context("spawn").Event()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def next_job(waiting: list[JobT], running: list[JobT], related: Callable[[JobT, JobT], bool]) -> JobT:
    """Return the first waiting job that is unrelated to all that run, else the first."""
    free = (job for job in waiting if not any(related(job, other) for other in running))
    return next(free, waiting[0])


def _in_own_process(run: Callable[[JobT], ResultT], job: JobT, threads: int, stop: Event) -> ResultT:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_start, initargs=(threads, stop)) as pool:
        return pool.submit(_run_interruptible, run, job).result()


def _run_interruptible(run: Callable[[JobT], ResultT], job: JobT) -> ResultT:
    with interruptible():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        try:
            return run(job)
        except Interrupted as error:
            os._exit(error.exit_code)  # at once: there is nobody to report to
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _start(threads: int, stop: Event) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # inherited by what the job starts
    threading.Thread(target=_end_with, args=(os.getppid(), stop), daemon=True).start()


def _end_with(parent: int, stop: Event) -> None:
    """Interrupt this process when its parent is interrupted or gone: it must not go on writing."""
    while os.getppid() == parent and not stop.wait(1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(1)
