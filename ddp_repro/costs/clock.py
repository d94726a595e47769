"""The clock of a measurement: what a process spent itself where it can be told, else the time on the wall."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def clock_of(device: torch.device | str) -> tuple[str, Callable[[], float]]:
    """Return the clock's name and the clock, seconds.

    With one CPU thread it is "process", the time of this process and not of those it shares the core with; otherwise
    "wall", after all that the GPU was asked for is done.
    """
    device = torch.device(device)
    if device.type == "cpu" and torch.get_num_threads() == 1:
        return "process", time.process_time

    def wall() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    return "wall", wall
