"""Work that several processes share: who belongs together, who does what, and how counts come together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.launchers import REMEDY, announced_processes, announcing_variable, check_meeting_point

T = TypeVar("T")
LOADER_THREADS = 2


def rank_and_world() -> tuple[int, int]:
    """Return this process's number and the number of processes; joins the group that a launcher has announced.

    Raises:
        ConfigError: the environment announces more processes than came together.  Each would do all the work, and
            write its results over the others'.
    """
    announced = announced_processes()
    if not dist.is_initialized() and announced > 1:
        _join(announced)
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    refuse_strangers(announced, world)
    return rank, world


def _join(announced: int) -> None:
    """Wait for the other processes, as long as PyTorch does (half an hour).

    Raises:
        ConfigError: they did not come, or cannot be reached.
    """
    from accelerate import PartialState

    check_meeting_point()
    try:
        PartialState(cpu=on_cpu())
    except (ValueError, RuntimeError) as error:
        PartialState._reset_state()  # half set up, it would pass for a run of one process
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"the {announced} processes that the environment announces did not meet: {reason}") from error


def on_cpu() -> bool:
    """Return whether this run computes, and its processes communicate, on the CPU.

    Accelerate keeps the answer of whoever asks first and treats processes that were given another one as strangers, so
    that every use of it has to pass this one.
    """
    return not torch.cuda.is_available()


def refuse_strangers(announced: int, world: int) -> None:
    """Check that all processes that a launcher started are in this run.

    Raises:
        ConfigError: some are not.
    """
    if announced > world:
        raise ConfigError(
            f"the environment announces {announced} processes, but this run has {world}: "
            f"{REMEDY.format(name=announcing_variable())}"
        )


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


def gathered(value: T) -> list[T]:
    """Return the values of all processes, in the order of their numbers, in each of them.

    Args:
        value: anything that can be pickled.
    """
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def in_turn(share: list[T]) -> list[T]:
    """Return the items of all processes in order, of which process r of n has numbers r, r + n, r + 2n, …."""
    shares = gathered(share)
    return [part[i] for i in range(max(map(len, shares))) for part in shares if i < len(part)]


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
