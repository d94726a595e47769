"""Many short trainings: one after the other, or several at once on one machine."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.workbook.runs.records import Record
from ddp_repro.workbook.runs.run import run


def run_all(
    recipes: Sequence[Recipe],
    *,
    jobs: int = 1,
    checkpoint: str | None = None,
    output: str | Path = "results",
    overwrite: bool = False,
) -> list[Record]:
    """:func:`ddp_repro.workbook.runs.run.run` every recipe; records in the order of the recipes.

    A second stage must not be among them together with the training it starts from, unless ``jobs`` is 1.

    Args:
        checkpoint: None trains; ``official`` evaluates the authors' weights.
        jobs: how many at once; the cores are divided among them (small models use one core better than two).

    Raises:
        ConfigError: jobs < 1, or as :func:`run`; runs that have begun are finished first.
    """
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1; got {jobs}")
    options = {"checkpoint": checkpoint, "output": output, "overwrite": overwrite}
    if jobs == 1 or len(recipes) == 1:
        return [run(recipe, **options) for recipe in recipes]
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_limit_threads, initargs=(threads,)) as pool:
        futures = [pool.submit(run, recipe, progress=False, **options) for recipe in recipes]
        for future in tqdm(as_completed(futures), total=len(futures), desc="runs", unit="run"):
            if future.exception():
                pool.shutdown(cancel_futures=True)
            future.result()
    return [future.result() for future in futures]


def _limit_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
