"""Evaluation over several processes: who evaluates what, and how counts come together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")
LOADER_THREADS = 2


def rank_and_world() -> tuple[int, int]:
    """This process's number and the number of processes; joins the group that torchrun or accelerate has announced."""
    if not dist.is_initialized():
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return 0, 1
        from accelerate import PartialState

        PartialState()
    return dist.get_rank(), dist.get_world_size()


def sum_over_processes(counts: Tensor, device: torch.device) -> Tensor:
    """Sum of ``counts`` over all processes, on the CPU; integer counts sum exactly, in any order.

    Args:
        counts: the same shape in every process.
        device: where the process group can communicate (the model's device).
    """
    if not dist.is_initialized():
        return counts
    total = counts.to(device)
    dist.all_reduce(total)
    return total.cpu()


def wait_for_all() -> None:
    """Return when every process has come here."""
    if dist.is_initialized():
        dist.barrier()


def prefetched(load: Callable[[int], T], indices: Iterable[int], ahead: int) -> Iterator[T]:
    """``map(load, indices)`` with up to ``ahead`` results prepared by threads while the caller computes."""
    with ThreadPoolExecutor(LOADER_THREADS) as pool:
        waiting: list[Future[T]] = []
        try:
            for index in indices:
                waiting.append(pool.submit(load, index))
                if len(waiting) > ahead:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()
