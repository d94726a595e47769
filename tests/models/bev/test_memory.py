"""Pooling at the published size stores no lifted features (640 MB in float32)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ddp_repro.papers.ddp.bev.pool import bev_pool, plan_pooling

pytestmark = pytest.mark.numerics

PROCESS = Path("/proc/self")


def kilobytes(field: str) -> int:
    [line] = [line for line in (PROCESS / "status").read_text().splitlines() if line.startswith(f"{field}:")]
    return int(line.split()[1])


def test_pooling_stays_within_100_megabytes() -> None:
    try:
        (PROCESS / "clear_refs").write_text("5")  # the peak starts anew
    except OSError:
        pytest.skip("needs Linux's /proc/self/clear_refs")
    cells = torch.randint(-8000, 65536, (1, 6, 118, 32, 88), dtype=torch.int32).clamp_(min=-1)
    context, depth = torch.rand(1, 6, 80, 32, 88), torch.rand(cells.shape)
    before = kilobytes("VmRSS")
    pooled = bev_pool(context, depth, plan_pooling(cells, (256, 256)))
    assert pooled.shape == (1, 80, 256, 256)
    assert kilobytes("VmHWM") - before < 100_000
