"""Rows of numbers, one an image, from all processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ddp_repro.evaluation.processes import rank_and_world


def gathered(rows: Tensor, combine: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the rows of all processes, those of the first process first.

    Args:
        rows: (N, ...), N different in each process, float64.
        combine: sums a tensor over the processes.
    """
    rank, world = rank_and_world()
    counts = torch.zeros(world, dtype=torch.int64)
    counts[rank] = len(rows)
    counts = combine(counts)
    slots = rows.new_zeros(world, int(counts.max()), *rows.shape[1:])
    slots[rank, : len(rows)] = rows
    slots = combine(slots)
    return torch.cat([slots[process, :count] for process, count in enumerate(counts.tolist())])
