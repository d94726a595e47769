"""DDPS's mini recipes made tiny, on a handful of synthetic pictures, and trainings of them in several processes."""

from __future__ import annotations

import multiprocessing
import os
import socket
from pathlib import Path

import torch

from ddp_repro.settings.overrides import override
from ddp_repro.settings.recipe import Recipe
from ddp_repro.training import train
from ddp_repro.workbook.catalogue import recipe

COMMON = [
    "train.iterations=4", "train.batch_size=4", "train.device_batch_size=2", "train.warmup_iterations=1",
    "train.checkpoint_every=2", "data.crop_size=48,64", "data.image_scale=64,32", "evaluation.seeds=0",
]  # fmt: skip


def tiny(name: str, root: Path, **changes: object) -> Recipe:
    """A recipe by name on the pictures in ``root``; ``changes`` are dotted overrides with ``__`` for the dot."""
    settings = dict(word.split("=") for word in COMMON) | {"data.root": str(root)}
    return override(recipe(name, "mini"), settings | {key.replace("__", "."): value for key, value in changes.items()})


def in_processes(count: int, settings: Recipe, output: Path) -> None:
    """Train in ``count`` processes that know of each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    arguments = (count, port, settings, output, torch.get_num_threads())
    processes = [context.Process(target=_program, args=(rank, *arguments)) for rank in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * count


def _program(rank: int, count: int, port: int, settings: Recipe, output: Path, threads: int) -> None:
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "RANK": str(rank),
        "LOCAL_RANK": str(rank),
    }  # fmt: skip
    torch.set_num_threads(threads)
    train(settings, output, progress=False)
