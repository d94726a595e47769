"""Pooling at the published size stores no lifted features; measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

POOL = """
import resource, torch
from ddp_repro.models.bev.bev_pool import bev_pool, plan_pooling
torch.set_num_threads(1)

def pool(cells, channels):
    context, depth = torch.rand(1, 6, channels, *cells.shape[3:]), torch.rand(*cells.shape)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pooled = bev_pool(context, depth, plan_pooling(cells, (256, 256)))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, pooled.shape

def draw(*size):
    return torch.randint(-8000, 65536, size, dtype=torch.int32).clamp_(min=-1)

pool(draw(1, 6, 2, 4, 4), 2)  # what the first call loads is not counted
grown, shape = pool(draw(1, 6, 118, 32, 88), 80)
print(grown, *shape)
"""


@pytest.mark.slow
def test_pooling_stays_within_100_megabytes() -> None:
    run = subprocess.run([sys.executable, "-c", POOL], capture_output=True, text=True, check=True)
    kilobytes, *shape = map(int, run.stdout.split())
    assert shape == [1, 80, 256, 256]
    assert 20_000 < kilobytes < 100_000  # the result alone takes 21 MB
