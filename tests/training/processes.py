"""Training in processes of its own, for tests that kill them or need several.

They are forked from a server that has imported everything once, which saves several seconds a process.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ddp_repro.settings.recipe import Recipe
from ddp_repro.training import TrainingInterrupted, train
from ddp_repro.training.log import read_log
from tests.training.tiny import tiny_recipe

INTERRUPTED = 75
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def start(images: Path, output: Path, *, count: int = 1, kill_at: str = "", **changes: Any) -> list[Any]:
    """:func:`start_recipe` of the tiny recipe."""
    return start_recipe(tiny_recipe(images, **changes), output, count=count, kill_at=kill_at)


def start_recipe(
    recipe: Recipe,
    output: Path,
    *,
    count: int = 1,
    kill_at: str = "",
    prepare: Callable[[], None] | None = None,
) -> list[Any]:
    """Start ``count`` processes that train together.

    Args:
        kill_at: the file whose saving ends them by SIGKILL.
        prepare: what each of them does first.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(count)}
    processes = []
    for rank in range(count):
        environment = {**group, "RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else {}
        arguments = (recipe, output, environment, torch.get_num_threads(), kill_at, prepare)
        processes.append(_CONTEXT.Process(target=_program, args=arguments))
        processes[-1].start()
    return processes


def wait_for_log(processes: list[Any], output: Path, lines: int) -> None:
    """Return when the log has so many lines."""
    while len(read_log(output / "log.jsonl")) < lines:
        assert all(process.is_alive() for process in processes)
        time.sleep(0.005)


def exit_codes(processes: list[Any]) -> list[int]:
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def _program(
    recipe: Recipe,
    output: Path,
    environment: dict[str, str],
    threads: int,
    kill_at: str,
    prepare: Callable[[], None] | None,
) -> None:
    os.environ.update(environment)
    if not environment:
        os.setsid()  # so that a test can signal this process and its workers
    torch.set_num_threads(threads)  # as many as the test's own: they decide the order of sums, and so the last bits
    if kill_at:
        _kill_at(kill_at)
    if prepare:
        prepare()
    try:
        train(recipe, output, progress=False)
    except TrainingInterrupted:
        sys.exit(INTERRUPTED)


def _kill_at(name: str) -> None:
    replace = os.replace

    def kill_or_replace(source: Path, target: Path) -> None:
        if Path(target).name == name:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = kill_or_replace
