"""Memory of sampling, beside that of the U-Net alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from ddp_repro.papers.ddps.layers import Segmentor
from ddp_repro.papers.ddps.model import DDPS
from ddp_repro.papers.ddps.settings import DDPSConfig


class NoSegmentor(Segmentor):
    """For a model that is given its features."""

    def __init__(self) -> None:
        super().__init__(150, 256)


def peak_bytes(run: Callable[[], object]) -> int:
    """Most memory that tensors made by ``run`` took at one time."""
    run()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    changes = [e.nbytes() for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    total = peak = 0
    for change in changes:
        total += change
        peak = max(peak, total)
    return peak


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["free", "strict", "strict_released"])
def test_memory_is_the_networks(sampler: str) -> None:
    """K = 151 classes on 128×128 pixels, T = 100: no array of K² or T times the map."""
    model = DDPS(DDPSConfig(dim=64, sampler=sampler), NoSegmentor()).eval()
    features = torch.randn(1, 256, 128, 128)
    step = torch.tensor([0])
    x = torch.randn(1, 272, 128, 128)
    with torch.no_grad():
        network = peak_bytes(lambda: model.prior.unet(x, step)) + x.nbytes
    sampling = peak_bytes(lambda: model.sample(features=features, steps=[0, 50, 99]))
    assert sampling < 1.5 * network
