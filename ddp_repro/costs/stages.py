"""Time a network's stages beside their floors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from tqdm import tqdm

from ddp_repro.costs.clock import clock_of
from ddp_repro.costs.floor import floor_of

FLOOR = " floor"  # ends the name of a stage's floor


@torch.no_grad()
def time_stages(
    stages: Mapping[str, Callable[[], Any]], device: torch.device | str, repetitions: int, progress: bool = True
) -> tuple[str, dict[str, list[float]]]:
    """Time every stage and its floor (:func:`ddp_repro.costs.floor.floor_of`), in turns.

    Each stage runs once before, when its floor is made.

    Returns:
        The clock's name, and the seconds of every repetition by stage, and by stage with :data:`FLOOR` behind.
    """
    candidates = {
        name + end: run for name, stage in stages.items() for end, run in (("", stage), (FLOOR, floor_of(stage)))
    }
    clock_name, clock = clock_of(device)
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in tqdm(range(repetitions), desc="stages", disable=None if progress else True):
        for name, run in candidates.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return clock_name, seconds
