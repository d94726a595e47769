"""Peak memory of this process, or of its GPU."""

from __future__ import annotations

import gc
import multiprocessing
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

STATUS = Path("/proc/self/status")


def apart(device: torch.device | str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function where its peak is not that of what ran before: on a CPU, in a process of its own.

    Those are forked from one that has imported the function's module and has done nothing else.  On a GPU, whose peak
    can be reset, this process does; it gives back first what PyTorch keeps for later.

    Args:
        function: of a module's top level, with arguments and a result that can be pickled.
    """
    if torch.device(device).type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        return function(*arguments)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    with context.Pool(1) as pool:
        return pool.apply(_with_threads, (torch.get_num_threads(), function, *arguments))


def _with_threads(threads: int, function: Callable[..., Any], *arguments: Any) -> Any:
    torch.set_num_threads(threads)
    return function(*arguments)


def reset_peak(device: torch.device) -> int:
    """Bytes in use now; forgets the peak of what came before where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    if not STATUS.is_file():
        return peak_so_far(device)
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    return _status("VmRSS")


def peak_so_far(device: torch.device) -> int:
    """Return the most bytes in use at once, since the last reset where the system can reset it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if STATUS.is_file():
        return _status("VmHWM")  # unlike getrusage's, not that of the process which started this one
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _status(field: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])
